import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseTrust, verifyReceipt } from '@countersign/protocol'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { parseBackup } from '../../packages/fabric/src/backup/backup-document.ts'
import {
  DATA_FOLDER_KINDS,
  kindOf,
  LOG_FOLDER_KINDS,
  SLOT_FOLDER_KINDS,
} from '../../packages/fabric/src/backup/folder-kinds.ts'
import { run } from '../../packages/fabric/src/cli/run.ts'
import { ServerProcess } from '../faults/server-process.ts'
import { deadline } from '../harness/deadline.ts'
import { type Door, send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { openReplicas, type Replicas, untilServed } from '../harness/replicas.ts'

let replicas: Replicas

beforeAll(async () => {
  replicas = await openReplicas({ folders: ['data', 'data'] })
  await untilServed(replicas)
})
afterAll(() => replicas.close())

const folder = () => join(replicas.dir, 'copy')
const document = () => parseBackup(readFileSync(join(folder(), 'backup.json'), 'utf8'))

async function backUp(...words: readonly string[]) {
  const { exit, text } = await replicas.command(0, 'backup', folder(), '--json', ...words)
  expect(exit, text).toBe(0)
  return JSON.parse(text) as { readonly copied: number; readonly kept: number }
}

const placeOf = (name: string) => [
  ...['--config', join(replicas.dir, 'countersign-0.yaml')],
  ...['--data', join(replicas.dir, name)],
]

async function restoreInto(name: string): Promise<void> {
  let text = ''
  const screen = { write: (part: string | Uint8Array) => void (text += String(part)) }
  const words = ['restore', folder(), '--entries-lost', ...placeOf(name)]
  expect(await run(words, { stdout: screen, stderr: screen }), text).toBe(0)
}

/** Calls by both replicas; resolves to the exchanges, all of which were acknowledged. */
async function call(count: number): Promise<readonly string[]> {
  const exchanges: string[] = []
  for (let made = 0; made < count; made++) {
    for (const { door } of [replicas.one, replicas.two]) {
      const heard = await send(door, { to: 'echo' })
      expect(heard.status).toBe(200)
      exchanges.push(exchangeOf(heard))
    }
  }
  return exchanges
}

/** Both replicas on a restored data folder; every exchange has its receipt at its holder. */
async function expectRestored(name: string, exchanges: readonly string[]): Promise<void> {
  const trust = parseTrust(readFileSync(join(replicas.dir, 'data', 'trust.json'), 'utf8'))
  const words = ['up', '--replica', '--port', '0', '--json', ...placeOf(name)]
  const servers: ServerProcess[] = []
  try {
    for (const slot of ['a', 'b']) {
      const server = new ServerProcess({ words })
      servers.push(server)
      const { host, port } = new URL(String((await server.ready())['origin']))
      const door: Door = {
        ...{ transport: 'gateway', credential: () => replicas.caller.credential() },
        place: async (_, path) => ({ authority: host, port: Number(port), path }),
      }
      for (const exchange of exchanges.filter((each) => each.startsWith(`exc_${slot}_`))) {
        const path = `/v1/receipts/${exchange}`
        const heard = await send(door, { method: 'GET', body: null, path })
        expect(heard.status, heard.body.toString()).toBe(200)
        await verifyReceipt(heard.body, trust)
      }
    }
  } finally {
    for (const server of servers) server.signal('SIGKILL')
    await Promise.all(servers.map((server) => server.ended))
  }
}

test('the logs of both replicas are in one backup, and the next one copies what is new', async () => {
  await call(150)
  const first = await backUp()
  expect(first.kept).toBe(0)
  expect(document().logs.map(({ slot }) => slot)).toEqual(['a', 'b'])
  const sizes = document().logs.map(({ size }) => size)
  expect(Math.min(...sizes)).toBeGreaterThan(256)
  const last = await call(1)
  const second = await backUp()
  expect(second.kept).toBeGreaterThanOrEqual(2 * 3)
  expect(second.copied).toBeLessThan(first.copied)
  const grown = document().logs.map(({ size }, at) => size - (sizes[at] ?? 0))
  expect(Math.min(...grown)).toBeGreaterThan(0)
  // Nothing of the backup before is left, except what both have.
  const { id } = document()
  expect(readdirSync(join(folder(), 'log')).toSorted()).toEqual([id, 'ledger'].toSorted())
  expect(readdirSync(join(folder(), 'keys'))).toEqual([id])
  await backUp('--check')
  await restoreInto('of-running')
  await expectRestored('of-running', last)
})

test('every file of a data folder is of a kind that a backup knows', () => {
  const data = join(replicas.dir, 'data')
  const unknown = (kinds: typeof DATA_FOLDER_KINDS, at: string) =>
    readdirSync(at).filter((name) => kindOf(kinds, name) === null)
  expect(unknown(DATA_FOLDER_KINDS, data)).toEqual([])
  for (const slot of ['a', 'b']) {
    expect(unknown(SLOT_FOLDER_KINDS, join(data, 'ledger', slot))).toEqual([])
    expect(unknown(LOG_FOLDER_KINDS, join(data, 'ledger', slot, 'log'))).toEqual([])
  }
})

test('a command that is killed leaves the backup before, or the new one, whole', async () => {
  const former = document().id
  const last = await call(1)
  const command = new ServerProcess({ words: ['backup', folder(), ...placeOf('data')] })
  // Of its files, some are there.
  await vi.waitFor(() => {
    const ids = readdirSync(join(folder(), 'log')).filter((name) => name !== 'ledger')
    expect(ids.some((id) => id !== former)).toBe(true)
  }, deadline)
  command.signal('SIGKILL')
  await command.ended
  await restoreInto('after-kill')
  await backUp()
  await restoreInto('after-another')
  await expectRestored('after-another', last)
})

test('a fabric that is killed during a backup leaves the backup before whole', async () => {
  const backup = replicas.command(0, 'backup', folder(), '--json')
  const snapshots = join(replicas.dir, 'data', 'backup')
  await Promise.race([backup, vi.waitFor(() => expect(existsSync(snapshots)).toBe(true), deadline)])
  replicas.two.process().signal('SIGKILL')
  await replicas.two.process().ended
  // It failed, or it was faster.
  await backup
  await restoreInto('of-killed')
  const last = await call1(replicas.one.door)
  // The log of the one is published by its process, that of the other by the command.
  await backUp()
  await restoreInto('of-half')
  await expectRestored('of-half', [last])
  await replicas.two.start()
})

async function call1(door: Door): Promise<string> {
  const heard = await send(door, { to: 'echo' })
  expect(heard.status).toBe(200)
  return exchangeOf(heard)
}

test.each(['SIGTERM', 'SIGKILL'] as const)('a backup after %s has every entry', async (signal) => {
  const last = await call(3)
  for (const { process } of [replicas.one, replicas.two]) process().signal(signal)
  await Promise.all([replicas.one, replicas.two].map(({ process }) => process().ended))
  await backUp()
  await restoreInto(`after-${signal}`)
  await expectRestored(`after-${signal}`, last)
  // The data folder is as it was: its fabrics start, and go on.
  await replicas.one.start()
  await replicas.two.start()
  await call(1)
})
