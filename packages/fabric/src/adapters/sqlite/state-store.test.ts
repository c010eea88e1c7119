import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, expect, test } from 'vitest'
import { directoryContract } from '../../../../../test/contracts/directory.ts'
import { testPlace } from '../../../../../test/contracts/identity-lab.ts'
import { rowsOf } from '../../../../../test/contracts/state-rows.ts'
import { type MakeState, stateStoreContract } from '../../../../../test/contracts/state-store.ts'
import { twoProcessesContract } from '../../../../../test/contracts/two-processes.ts'
import { openSqliteStateStore } from './state-store.ts'

const folder = mkdtempSync(join(tmpdir(), 'countersign-state-'))
let files = 0
const newPath = () => join(folder, `state-${files++}.db`)
afterAll(() => rmSync(folder, { recursive: true }))

const agent = (key: string) => ({ table: 'agents', key, value: '1' }) as const

const make: MakeState = async (historyRows) => {
  const path = newPath()
  return () => openSqliteStateStore(path, { historyRows, pollMs: 5 })
}

stateStoreContract('SQLite', make)
twoProcessesContract('SQLite', async () => {
  const path = newPath()
  return { ...testPlace(), openStore: () => openSqliteStateStore(path, { pollMs: 5 }) }
})
directoryContract('SQLite', make)

test('a committed value outlives a restart, and so do its revision and the history', async () => {
  const path = newPath()
  const before = await openSqliteStateStore(path)
  await before.commit([agent('a')])
  await before.close()
  const after = await openSqliteStateStore(path)
  expect(await after.read()).toEqual({ revision: 1, rows: [agent('a')] })
  expect(await after.changes(0, 10)).toEqual({
    revision: 1,
    commits: [{ revision: 1, changes: [agent('a')] }],
  })
  await after.close()
})

test.for([
  [99, 'format 99'],
  [1, 'start with a new folder'],
] as const)('a file of format %i is not touched', async ([format, message]) => {
  const path = newPath()
  const database = new DatabaseSync(path)
  database.exec(`PRAGMA user_version = ${format}`)
  database.close()
  await expect(openSqliteStateStore(path)).rejects.toThrow(message)
})

test('a store that cannot be durable does not open', async () => {
  await expect(openSqliteStateStore(':memory:')).rejects.toThrow('full synchronisation')
})

test('processes that open a new file at once all open it', async () => {
  const path = newPath()
  const stores = await Promise.all(Array.from({ length: 4 }, () => openSqliteStateStore(path)))
  for (const [i, store] of stores.entries()) expect(await store.commit([agent(`${i}`)])).toBe(i + 1)
  for (const store of stores) await store.close()
})

test('a commit waits while another process writes, without blocking this one', async () => {
  const path = newPath()
  const store = await openSqliteStateStore(path)
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  const commit = store.commit([agent('a')])
  const next = store.commit([{ ...agent('a'), value: '2', expected: '1' }])
  // Reads go on meanwhile, and find nothing of what waits.
  expect(await store.read()).toEqual({ revision: 0, rows: [] })
  other.exec('ROLLBACK')
  expect([await commit, await next]).toEqual([1, 2])
  expect(await rowsOf(store, 'agents')).toEqual([{ key: 'a', value: '2' }])
  other.close()
  await store.close()
})

test('a commit that fails in the middle leaves no transaction open', async () => {
  const path = newPath()
  const store = await openSqliteStateStore(path)
  const other = new DatabaseSync(path)
  other.exec(
    `CREATE TRIGGER refuse BEFORE INSERT ON state_history WHEN new.key = 'b'
     BEGIN SELECT RAISE(ABORT, 'of the test'); END`,
  )
  await expect(store.commit([agent('a'), agent('b')])).rejects.toThrow('of the test')
  expect(await store.read()).toEqual({ revision: 0, rows: [] })
  expect(await store.commit([agent('a')])).toBe(1)
  other.close()
  await store.close()
})

test('history that was kept for a longer limit is deleted in steps', async () => {
  const path = newPath()
  const before = await openSqliteStateStore(path)
  await before.commit(Array.from({ length: 600 }, (_, i) => agent(`${i}`)))
  await before.close()
  const store = await openSqliteStateStore(path, { historyRows: 2 })
  const reader = new DatabaseSync(path)
  const rows = () => reader.prepare('SELECT count(*) AS rows FROM state_history').get()?.['rows']
  const left: unknown[] = []
  for (let i = 0; i < 4; i += 1) {
    await store.commit([agent('a')])
    left.push(rows())
  }
  expect(left).toEqual([344, 88, 2, 2])
  expect(await store.changes(0, 10)).toBeNull()
  expect((await store.changes(3, 10))?.commits).toHaveLength(2)
  reader.close()
  await store.close()
})
