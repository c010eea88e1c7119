import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, expect, test } from 'vitest'
import { leaseStoreContract } from '../../../../../test/contracts/lease-store.ts'
import { openSqliteLeaseStore } from './lease-store.ts'

const dir = mkdtempSync(join(tmpdir(), 'countersign-leases-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

let count = 0
const newFile = () => join(dir, `${count++}.db`)

leaseStoreContract('SQLite', async () => {
  const path = newFile()
  let now = 1_000
  return {
    open: () => openSqliteLeaseStore(path, { now: () => now }),
    advance(ms) {
      now += ms
    },
  }
})

const request = { name: 'a', leaseMs: 10_000, note: '', isFormerEnded: false }

test('a token is greater after a restart, and a lease of an earlier boot is free', async () => {
  const path = newFile()
  const before = await openSqliteLeaseStore(path, { now: () => 9_000_000 })
  expect(await before.take(request)).toBe(1)
  await before.close()
  const after = await openSqliteLeaseStore(path, { now: () => 60_000 })
  expect(await after.take(request)).toBe(2)
  await after.close()
})

test('a file of another format is refused', async () => {
  const path = newFile()
  const database = new DatabaseSync(path)
  database.exec('PRAGMA user_version = 2')
  database.close()
  await expect(openSqliteLeaseStore(path)).rejects.toThrow('the file of leases has format 2')
})
