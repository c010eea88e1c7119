import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  openPostgresDatabase,
  type PostgresDatabase,
} from '../../packages/fabric/src/adapters/postgresql/database.ts'
import { openPostgresRecordStore } from '../../packages/fabric/src/adapters/postgresql/record-store.ts'
import {
  openSession,
  POSTGRES_TIMES,
} from '../../packages/fabric/src/adapters/postgresql/session.ts'
import type { BoundsOfRecords, RecordStore } from '../../packages/fabric/src/state/record-store.ts'
import { recordStoreContract } from '../contracts/record-store.ts'
import { findPostgres, type PostgresServer, startPostgres, targetOf } from '../harness/postgres.ts'
import { writtenBefore } from '../harness/record-crowd.ts'
import { openTcpProxy } from '../harness/tcp-proxy.ts'

const isMissing = findPostgres() === null

/** The database closes with the store, which is the only one that uses it. */
function withDatabase(database: PostgresDatabase, bounds?: BoundsOfRecords): RecordStore {
  const store = openPostgresRecordStore(database, bounds)
  return {
    ...store,
    async close() {
      await store.close()
      await database.close()
    },
  }
}

const forAlice = { owner: 'alice', lifetimeMs: 60_000 } as const
const claim = { ...forAlice, expected: null } as const

describe.skipIf(isMissing)('records in PostgreSQL', () => {
  let server: PostgresServer
  let schemas = 0
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server.close())

  recordStoreContract('PostgreSQL', async (bounds) => {
    const schema = `records_${schemas++}`
    const database = () => openPostgresDatabase({ target: targetOf(server), schema })
    const store = withDatabase(await database(), bounds)
    const other = withDatabase(await database(), bounds)
    return {
      ...{ store, other },
      // The clock is that of the server, so the records move instead.
      wait: async (ms) => {
        const earlier = `expires_at - ${ms} * interval '1 millisecond'`
        await server.query(`UPDATE ${schema}.record SET expires_at = ${earlier}`)
      },
      async close() {
        await store.close()
        await other.close()
      },
    }
  })

  const openStore = async (schema: string, via: { readonly port?: number } = {}) => {
    const times = { ...POSTGRES_TIMES, connectMs: 500, readMs: 500, statementMs: 500 }
    const slow = via.port === undefined ? {} : { times }
    const target = targetOf(server, via)
    return withDatabase(await openPostgresDatabase({ target, schema, ...slow }))
  }

  test('survive a crash of the server', async () => {
    const schema = `records_${schemas++}`
    const store = await openStore(schema)
    await store.put('task', 'a', '1', claim)
    await server.crash()
    await expect.poll(() => store.find('task', 'a').catch(() => null)).toMatchObject({ value: '1' })
    expect(await store.put('task', 'a', '2', claim)).toBe(false)
    await store.close()
  })

  test('of a transaction that has not ended come before those of a later one', async () => {
    const schema = `records_${schemas++}`
    const store = await openStore(schema)
    const session = await openSession(targetOf(server))
    await session.query('BEGIN')
    const first = { kind: 'put', collection: 'task', key: 'first', value: '1' }
    const command = { ...first, ...forAlice, perOwnerMax: 9, countMax: 9 }
    await session.query(`SELECT ${schema}.record_write($1::jsonb)`, [JSON.stringify([command])])
    const second = store.put('task', 'second', '1', claim)
    const waits = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    await expect.poll(() => server.query(waits)).not.toEqual([])
    expect(await store.added('task', 0, 10)).toEqual([])
    await session.query('COMMIT')
    expect(await second).toBe(true)
    const added = await store.added('task', 0, 10)
    expect(added.map(({ key }) => key)).toEqual(['first', 'second'])
    session.destroy()
    await store.close()
  })

  test('of an owner do not wait for all that another one writes', async () => {
    const store = await openStore(`records_${schemas++}`)
    const { of, written } = await writtenBefore(store)
    expect(written).toBeLessThan(of / 2)
    await store.close()
  })

  test('take turns also where transactions are serializable by default', async () => {
    const schema = `records_${schemas++}`
    await server.query(`ALTER ROLE ${server.user} SET default_transaction_isolation = serializable`)
    const store = await openStore(schema)
    const session = await openSession(targetOf(server))
    await session.query('BEGIN')
    const first = { kind: 'put', collection: 'task', key: 'first', value: '1' }
    const command = { ...first, ...forAlice, perOwnerMax: 9, countMax: 9 }
    await session.query(`SELECT ${schema}.record_write($1::jsonb)`, [JSON.stringify([command])])
    const second = store.put('task', 'second', '1', claim).catch(String)
    const waits = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    await expect.poll(() => server.query(waits)).not.toEqual([])
    await session.query('COMMIT')
    expect(await second).toBe(true)
    await server.query(`ALTER ROLE ${server.user} RESET default_transaction_isolation`)
    session.destroy()
    await store.close()
  })

  test('behind a network that hangs, reads and writes end at their time', async () => {
    const proxy = await openTcpProxy(server.port)
    const store = await openStore(`records_${schemas++}`, { port: proxy.port })
    await store.put('task', 'a', '1', claim)
    proxy.hang()
    await expect(store.put('task', 'b', '1', claim)).rejects.toThrow('no answer within')
    await expect(store.find('task', 'a')).rejects.toThrow('no answer within')
    proxy.resume()
    expect(await store.find('task', 'a')).toMatchObject({ value: '1' })
    await store.close()
    await proxy.close()
    await expect(store.put('task', 'b', '1', claim)).rejects.toThrow('closed')
  })
})
