import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, expect, test } from 'vitest'
import { directoryContract } from '../../../../../test/contracts/directory.ts'
import { stateStoreContract } from '../../../../../test/contracts/state-store.ts'
import { openSqliteStateStore } from './state-store.ts'

const folder = mkdtempSync(join(tmpdir(), 'countersign-state-'))
let files = 0
const newPath = () => join(folder, `state-${files++}.db`)
afterAll(() => rmSync(folder, { recursive: true }))

stateStoreContract('SQLite', async () => openSqliteStateStore(newPath()))
directoryContract('SQLite', async () => openSqliteStateStore(newPath()))

test('a committed value outlives a restart', async () => {
  const path = newPath()
  const before = openSqliteStateStore(path)
  await before.commit([{ table: 'agents', key: 'a', value: '1' }])
  await before.close()
  const after = openSqliteStateStore(path)
  expect(await after.load('agents')).toEqual([{ key: 'a', value: '1' }])
  await after.close()
})

test('a file of a newer format is not touched', () => {
  const path = newPath()
  const database = new DatabaseSync(path)
  database.exec('PRAGMA user_version = 99')
  database.close()
  expect(() => openSqliteStateStore(path)).toThrow('format 99')
})

test('a file of an earlier format is not touched', () => {
  const path = newPath()
  const database = new DatabaseSync(path)
  database.exec('PRAGMA user_version = 1')
  database.close()
  expect(() => openSqliteStateStore(path)).toThrow('start with a new folder')
})

test('a store that cannot be durable does not open', () => {
  expect(() => openSqliteStateStore(':memory:')).toThrow('full synchronisation')
})

test('two processes on one file take turns', async () => {
  const path = newPath()
  const one = openSqliteStateStore(path)
  const two = openSqliteStateStore(path)
  const change = { table: 'join-tokens', key: 't', value: 'used', expected: null } as const
  expect([await one.commit([change]), await two.commit([change])]).toEqual([true, false])
  await one.close()
  await two.close()
})
