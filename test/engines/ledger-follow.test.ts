import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { askControl, openIdentity } from '@countersign/sdk'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { ServerProcess } from '../faults/server-process.ts'
import { deadline } from '../harness/deadline.ts'

interface Line {
  readonly index: number
  readonly cursor: string
  readonly facts: Readonly<Record<string, unknown>>
}

let dir = ''
let fabric: ServerProcess
let origin = ''
const place = () => ['--config', join(dir, 'countersign.yaml'), '--data', join(dir, 'data')]
const exported = () => join(dir, 'entries.ndjson')
const cursor = () => join(dir, 'cursor')

beforeAll(async () => {
  dir = mkdtempSync(join(inject('worldsDir'), 'follow-'))
  const masterKey = { from: 'key-file', path: join(dir, 'master.key') }
  const limits = { requestsPerMinute: 100_000, refusalsPerMinute: 100_000 }
  const config = { masterKey, limits, observe: { enabled: false } }
  writeFileSync(join(dir, 'countersign.yaml'), JSON.stringify(config))
  await start()
})

afterAll(async () => {
  await kill(fabric)
  rmSync(dir, { recursive: true, force: true })
})

async function start(): Promise<void> {
  fabric = new ServerProcess({ words: ['up', '--port', '0', '--json', ...place()] })
  origin = String((await fabric.ready())['origin'])
}

async function kill(child: ServerProcess): Promise<void> {
  child.signal('SIGKILL')
  await child.ended
}

/** Each is two entries. */
async function ask(count: number): Promise<number> {
  const own = { dir: join(dir, 'data/operator'), url: origin, clock: systemClock }
  const operator = await openIdentity({ ...own, join: undefined, onFault: () => undefined })
  const value = { operation: 'status', args: {} }
  let size = 0
  for (let i = 0; i < count; i++) {
    const answer = await askControl(operator.connection, {
      method: 'POST',
      path: '/v1/admin',
      value,
    })
    size = (answer as { result: { ledger: { size: number } } }).result.ledger.size
  }
  operator.close()
  return size
}

const follow = (...words: readonly string[]) =>
  new ServerProcess({
    words: ['ledger', 'follow', '--cursor', cursor(), ...words, '--json', ...place()],
  })

/** Whole lines alone: a process that was killed may leave part of one. */
function lines(): readonly Line[] {
  const text = existsSync(exported()) ? readFileSync(exported(), 'utf8') : ''
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  return whole.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Line]))
}

const reach = (size: number) =>
  vi.waitFor(() => expect(lines().at(-1)?.index ?? -1).toBeGreaterThanOrEqual(size - 1), deadline)

test('an export that is killed again and again has every entry, over restarts of the fabric', async () => {
  for (let round = 0; round < 4; round++) {
    const follower = follow('--to', exported())
    const before = lines().length
    const size = await ask(15)
    if (round === 2) {
      await reach(size)
      await kill(fabric)
      await start()
      await reach((await ask(5)) + 1)
    } else await vi.waitFor(() => expect(lines().length).toBeGreaterThan(before), deadline)
    await kill(follower)
  }
  const last = follow('--to', exported())
  await reach(await ask(1))
  last.signal('SIGTERM')
  expect(await last.end()).toBe(0)
  const found = lines()
  const end = found.at(-1)?.index ?? 0
  expect([...new Set(found.map(({ index }) => index))]).toEqual(
    Array.from({ length: end + 1 }, (_, i) => i),
  )
  expect(readFileSync(exported(), 'utf8').endsWith('\n')).toBe(true)
  expect(readFileSync(cursor(), 'utf8').trim()).toBe(found.at(-1)?.cursor)
  const names = new Set(found.flatMap(({ facts }) => Object.keys(facts)))
  expect([...names].filter((name) => name.startsWith('private.'))).toEqual([])
  expect(names).toContain('caller')
})

test('stdout has what is behind the cursor, and a cursor of another log is refused', async () => {
  const from = Number(readFileSync(cursor(), 'utf8').trim().split('.')[2])
  const follower = follow('--with-private')
  await ask(2)
  await vi.waitFor(() => expect(follower.stdout).toContain('private.request'), deadline)
  const [first = ''] = follower.stdout.split('\n')
  expect((JSON.parse(first) as Line).index).toBe(from)
  await kill(follower)
  writeFileSync(cursor(), 'b.01234567.4\n')
  const refused = follow()
  expect(await refused.end()).not.toBe(0)
  expect(refused.stderr).toContain('CURSOR_UNKNOWN')
})
