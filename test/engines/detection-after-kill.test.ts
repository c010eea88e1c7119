import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FabricStatus } from '@countersign/protocol'
import { askControl, type Identity, openIdentity } from '@countersign/sdk'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { ServerProcess } from '../faults/server-process.ts'

interface Suspect {
  readonly risk: number
  readonly signals: readonly { readonly detector: string; readonly at: number }[]
}

let dir = ''
let server: ServerProcess
let origin = ''
const file = () => join(dir, 'countersign.yaml')

beforeAll(async () => {
  dir = mkdtempSync(join(inject('worldsDir'), 'detection-'))
  const masterKey = { from: 'key-file', path: join(dir, 'master.key') }
  const limits = { requestsPerMinute: 100_000, refusalsPerMinute: 100_000 }
  writeFileSync(file(), JSON.stringify({ masterKey, limits, observe: { enabled: false } }))
  await start()
})

afterAll(async () => {
  server.signal('SIGKILL')
  await server.end()
  rmSync(dir, { recursive: true, force: true })
})

async function start(): Promise<void> {
  const words = ['up', '--port', '0', '--json', '--config', file(), '--data', join(dir, 'data')]
  server = new ServerProcess({ words })
  origin = String((await server.ready())['origin'])
}

async function kill(): Promise<void> {
  server.signal('SIGKILL')
  await server.end()
}

async function asOperator(operation: string, args: object = {}): Promise<unknown> {
  const place = { dir: join(dir, 'data/operator'), url: origin, clock: systemClock }
  const operator = await openIdentity({ ...place, join: undefined, onFault: () => undefined })
  return ask(operator, operation, args).finally(() => operator.close())
}

async function ask({ connection }: Identity, operation: string, args: object): Promise<unknown> {
  const value = { operation, args }
  const answer = await askControl(connection, { method: 'POST', path: '/v1/admin', value })
  return (answer as { result: unknown }).result
}

/** Its requests to administer are denied. */
async function probe(count: number): Promise<void> {
  const place = { dir: join(dir, 'probe'), clock: systemClock, onFault: () => undefined }
  const own = readdirSync(dir).includes('probe')
    ? { ...place, url: origin, join: undefined }
    : { ...place, join: await invitation() }
  const identity = await openIdentity(own)
  for (let i = 0; i < count; i++) await ask(identity, 'status', {}).catch(() => undefined)
  identity.close()
}

async function invitation(): Promise<string> {
  const order = { name: 'probe', kind: 'agent', roles: [], segment: '', attributes: {} }
  const { join: line } = (await asOperator('agent.enroll', { ...order, ttlSeconds: 900 })) as {
    join: string
  }
  return line
}

const suspect = async () => (await asOperator('agent.show', { name: 'probe' })) as Suspect
const follower = async () => ((await asOperator('status')) as FabricStatus).consumers[0]

test('a finding outlives kill -9, is not made twice, and goes on to be held', async () => {
  await probe(30)
  const before = await suspect()
  expect(before.signals.map(({ detector }) => detector)).toContain('refusals')
  // Nothing is saved yet: all of it is read from the log.
  await kill()
  await start()
  expect((await suspect()).signals).toEqual(before.signals)
  // Fewer than would raise it again by themselves; the earlier ones count still.
  await probe(5)
  expect((await suspect()).signals).toEqual(before.signals)
  await kill()
  await start()
  expect((await suspect()).signals).toEqual(before.signals)
  const { position, behind, skipped } = (await follower()) ?? {}
  expect({ behind, skipped }).toEqual({ behind: 0, skipped: 0 })
  expect(position).toBeGreaterThan(35)
})

test('a file of the state that was changed is noticed, and the finding is found again', async () => {
  const before = await suspect()
  server.signal('SIGTERM')
  expect(await server.end()).toBe(0)
  const path = join(dir, 'data/consumers/detection-a.state')
  const bytes = readFileSync(path)
  expect(String(bytes)).not.toContain('probe')
  writeFileSync(path, bytes.with(100, (bytes[100] ?? 0) ^ 1))
  await start()
  expect((await suspect()).signals).toEqual(before.signals)
  const { entries } = (await asOperator('ledger.read', { countMax: 1_000 })) as {
    entries: readonly { readonly facts: Readonly<Record<string, unknown>> }[]
  }
  const rebuilt = entries.filter(({ facts }) => facts['event'] === 'state-rebuilt')
  expect(rebuilt.map(({ facts }) => facts)).toMatchObject([
    { object: 'detection', reason: 'damaged', from: 0 },
  ])
})
