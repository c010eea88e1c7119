import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, expect, test } from 'vitest'
import { recordStoreContract } from '../../../../../test/contracts/record-store.ts'
import { writtenBefore } from '../../../../../test/harness/record-crowd.ts'
import { Approvals } from '../../approvals/approvals.ts'
import { Refusal } from '../../lib/refusal.ts'
import { openSqliteRecordStore } from './record-store.ts'

const folder = mkdtempSync(join(tmpdir(), 'countersign-records-'))
let files = 0
const newPath = () => join(folder, `records-${files++}.db`)
afterAll(() => rmSync(folder, { recursive: true }))

const clock = { now: () => 1_000 }
const onFatal = (error: Error) => {
  throw error
}
const forAlice = { owner: 'alice', lifetimeMs: 60_000 } as const

recordStoreContract('SQLite', async (bounds) => {
  let now = 1_000
  const options = { path: newPath(), clock: { now: () => now }, bounds, onFatal }
  const store = await openSqliteRecordStore(options)
  const other = await openSqliteRecordStore(options)
  return {
    store,
    other,
    wait: async (ms) => {
      now += ms
    },
    async close() {
      await store.close()
      await other.close()
    },
  }
})

test('a record outlives a restart, and its sequence is never used again', async () => {
  const path = newPath()
  const before = await openSqliteRecordStore({ path, clock, onFatal })
  await before.put('task', 'a', '1', forAlice)
  await before.put('task', 'b', '1', forAlice)
  const [, last] = await before.added('task', 0, 10)
  await before.remove('task', 'b')
  await before.close()
  const after = await openSqliteRecordStore({ path, clock, onFatal })
  expect(await after.find('task', 'a')).toMatchObject({ value: '1' })
  await after.put('task', 'c', '1', forAlice)
  const [next] = await after.added('task', last?.sequence ?? 0, 10)
  expect(next?.key).toBe('c')
  await after.close()
})

test('an approval that was used is used after a restart, and one that was not can be', async () => {
  const path = newPath()
  const options = {
    ...{ clock, random: (count: number) => new Uint8Array(count), pendingMs: 60_000 },
    isActive: () => true,
    history: () => '',
    record: () => Promise.resolve(null),
  }
  const principal = (subject: string) => ({ kind: 'agent', issuer: 'a.test', subject }) as const
  const request = {
    ...{ digest: 'a'.repeat(64), caller: principal('a'), user: null, receiver: principal('b') },
    ...{ protocol: 'mcp', operation: 'tools/call', tool: 'pay', parameters: [] },
    ...{ reason: 'moves money', askedBy: principal('a'), exchange: 'exc_1' },
  }
  const approver = { caller: principal('c'), user: null, exchange: 'exc_2' }
  const atStart = async (work: (approvals: Approvals) => Promise<unknown>) => {
    const records = await openSqliteRecordStore({ path, clock, onFatal })
    const result = await work(new Approvals({ ...options, records }))
    await records.close()
    return result
  }
  const pending = await atStart((approvals) => approvals.claim(request))
  const id = pending instanceof Refusal ? (pending.approval?.id ?? '') : ''
  const decision = { verdict: 'approved', note: 'agreed' } as const
  await atStart((approvals) => approvals.decide(id, approver, decision))
  expect(await atStart((approvals) => approvals.claim(request))).toMatchObject({ id })
  expect(await atStart((approvals) => approvals.find(id))).toMatchObject({ state: 'consumed' })
})

test('a file of another format is not touched', async () => {
  const path = newPath()
  const database = new DatabaseSync(path)
  database.exec('PRAGMA user_version = 99')
  database.close()
  await expect(openSqliteRecordStore({ path, clock, onFatal })).rejects.toThrow('format 99')
})

test('the writer starts with the first write, and a sweep that finds nothing starts none', async () => {
  const ports = () =>
    process.getActiveResourcesInfo().filter((kind) => kind === 'MessagePort').length
  const before = ports()
  const store = await openSqliteRecordStore({ path: newPath(), clock, onFatal })
  expect(await store.sweep()).toBe(0)
  expect(ports()).toBe(before)
  await store.put('task', 'a', '1', forAlice)
  expect(ports()).toBe(before + 1)
  await store.close()
  expect(ports()).toBe(before)
})

test('a store that wrote nothing closes, and refuses later writes', async () => {
  const store = await openSqliteRecordStore({ path: newPath(), clock, onFatal })
  await store.close()
  await expect(store.put('task', 'a', '1', forAlice)).rejects.toThrow('closed')
})

test('a write that is not awaited is carried out before the store is closed', async () => {
  const path = newPath()
  const store = await openSqliteRecordStore({ path, clock, onFatal })
  const written = store.put('task', 'a', '1', forAlice)
  await store.close()
  expect(await written).toBe(true)
  const again = await openSqliteRecordStore({ path, clock, onFatal })
  expect(await again.find('task', 'a')).toMatchObject({ value: '1' })
  await again.close()
})

test('an owner does not wait for all that another one writes', async () => {
  const store = await openSqliteRecordStore({ path: newPath(), clock, onFatal })
  const { of, written } = await writtenBefore(store)
  expect(written).toBeLessThan(of / 2)
  await store.close()
})

test('writes of a closed store reject', async () => {
  const store = await openSqliteRecordStore({ path: newPath(), clock, onFatal })
  await store.close()
  await store.close()
  await expect(store.put('task', 'a', '1', forAlice)).rejects.toThrow('closed')
})

test('a batch that cannot be written rejects as a whole, and the next one is written', async () => {
  const path = newPath()
  const store = await openSqliteRecordStore({ path, clock, onFatal })
  const database = new DatabaseSync(path)
  database.exec(
    `CREATE TRIGGER full BEFORE INSERT ON task WHEN NEW.key = 'b'
     BEGIN SELECT RAISE(ABORT, 'no space'); END`,
  )
  database.close()
  const both = await Promise.allSettled([
    store.put('task', 'a', '1', forAlice),
    store.put('task', 'b', '1', forAlice),
  ])
  expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(await store.find('task', 'a')).toBeNull()
  expect(await store.put('task', 'a', '1', forAlice)).toBe(true)
  await store.close()
})
