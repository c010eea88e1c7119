import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPostgresDatabase } from '../../packages/fabric/src/adapters/postgresql/database.ts'
import {
  isLeaseOfOther,
  openPostgresLeaseStore,
} from '../../packages/fabric/src/adapters/postgresql/lease-store.ts'
import { leaseStoreContract } from '../contracts/lease-store.ts'
import { openTestSlot } from '../harness/log-slots.ts'
import { findPostgres, type PostgresServer, startPostgres, targetOf } from '../harness/postgres.ts'

const at = (folder: string, place = 'here') => ({ folder, place })
const isMissing = findPostgres() === null

describe.skipIf(isMissing)('leases in PostgreSQL', () => {
  let server: PostgresServer
  let schemas = 0
  const closers: (() => Promise<void>)[] = []
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(async () => {
    for (const close of closers) await close()
    await server.close()
  })
  const openDatabase = async (schema: string) => {
    const database = await openPostgresDatabase({ target: targetOf(server), schema })
    closers.push(() => database.close())
    return database
  }

  leaseStoreContract('PostgreSQL', async () => {
    const schema = `leases_${schemas++}`
    return {
      open: async () => openPostgresLeaseStore(await openDatabase(schema), at('folder')),
      slackMs: 5_000,
      // The clock is that of the server, so the leases move instead.
      async advance(ms) {
        const earlier = `ends - ${ms} * interval '1 millisecond'`
        await server.query(`UPDATE ${schema}.lease SET ends = ${earlier}`)
      },
    }
  })

  test('belong to the data folder that took them first, also once they have ended', async () => {
    const database = await openDatabase(`leases_${schemas++}`)
    const one = openPostgresLeaseStore(database, at('one'))
    const two = openPostgresLeaseStore(database, at('two'))
    const request = { name: 'a', leaseMs: 60_000, note: '', isFormerEnded: true }
    expect(await isLeaseOfOther(database, 'a', at('two'))).toBe(false)
    expect(await one.take(request)).toBe(1)
    await one.release({ name: 'a', token: 1 })
    expect(await two.take(request)).toBeNull()
    expect(await isLeaseOfOther(database, 'a', at('two'))).toBe(true)
    expect(await isLeaseOfOther(database, 'a', at('one'))).toBe(false)
    expect(await one.take(request)).toBe(2)
  })

  test('are not taken by a copy of the data folder before they have ended', async () => {
    const schema = `leases_${schemas++}`
    const database = await openDatabase(schema)
    const one = openPostgresLeaseStore(database, at('one'))
    const copy = openPostgresLeaseStore(database, at('one', 'there'))
    const request = { name: 'a', leaseMs: 60_000, note: '', isFormerEnded: true }
    expect(await one.take(request)).toBe(1)
    expect(await copy.take(request)).toBeNull()
    expect(await isLeaseOfOther(database, 'a', at('one', 'there'))).toBe(false)
    expect(await one.renew({ ...request, token: 1 })).toBe(true)
    // A restart at the same place waits for nothing.
    expect(await one.take(request)).toBe(2)
    await server.query(`UPDATE ${schema}.lease SET ends = clock_timestamp()`)
    expect(await copy.take(request)).toBe(3)
    expect(await one.renew({ ...request, token: 2 })).toBe(false)
    expect(await one.take(request)).toBeNull()
  })

  test('of a process that runs keep a copy of its data folder from starting', async () => {
    const database = await openDatabase(`leases_${schemas++}`)
    const dir = mkdtempSync(join(tmpdir(), 'countersign-leases-'))
    const [folder, copied] = [join(dir, 'one'), join(dir, 'copy')]
    mkdirSync(folder, { mode: 0o700 })
    const slot = await openTestSlot(database, folder)
    cpSync(folder, copied, { recursive: true })
    await expect(openTestSlot(database, copied)).rejects.toThrow('a copy of this data folder')
    expect(slot.lease.holds() || (await slot.lease.regain()) === undefined).toBe(true)
    await slot.close()
    // Once it has ended, as on a host that was lost, the copy takes its place.
    const next = await openTestSlot(database, copied)
    expect([next.name, next.lease.token]).toEqual(['a', 2])
    await next.close()
    rmSync(dir, { recursive: true })
  })
})
