import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPostgresDatabase } from '../../packages/fabric/src/adapters/postgresql/database.ts'
import {
  isLeaseOfOther,
  openPostgresLeaseStore,
} from '../../packages/fabric/src/adapters/postgresql/lease-store.ts'
import { leaseStoreContract } from '../contracts/lease-store.ts'
import { findPostgres, type PostgresServer, startPostgres, targetOf } from '../harness/postgres.ts'

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
      open: async () => openPostgresLeaseStore(await openDatabase(schema), 'folder'),
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
    const one = openPostgresLeaseStore(database, 'one')
    const two = openPostgresLeaseStore(database, 'two')
    const request = { name: 'a', leaseMs: 60_000, note: '', isFormerEnded: true }
    expect(await isLeaseOfOther(database, 'a', 'two')).toBe(false)
    expect(await one.take(request)).toBe(1)
    await one.release({ name: 'a', token: 1 })
    expect(await two.take(request)).toBeNull()
    expect(await isLeaseOfOther(database, 'a', 'two')).toBe(true)
    expect(await isLeaseOfOther(database, 'a', 'one')).toBe(false)
    expect(await one.take(request)).toBe(2)
  })
})
