import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, expect, test } from 'vitest'
import { recordStoreContract } from '../../../../../test/contracts/record-store.ts'
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

test('a file of another format is not touched', async () => {
  const path = newPath()
  const database = new DatabaseSync(path)
  database.exec('PRAGMA user_version = 99')
  database.close()
  await expect(openSqliteRecordStore({ path, clock, onFatal })).rejects.toThrow('format 99')
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
