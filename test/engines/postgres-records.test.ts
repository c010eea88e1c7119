import { afterAll, beforeAll, describe } from 'vitest'
import { openPostgresDatabase } from '../../packages/fabric/src/adapters/postgresql/database.ts'
import { openPostgresRecordStore } from '../../packages/fabric/src/adapters/postgresql/record-store.ts'
import { recordStoreContract } from '../contracts/record-store.ts'
import { findPostgres, type PostgresServer, startPostgres, targetOf } from '../harness/postgres.ts'

const isMissing = findPostgres() === null

describe.skipIf(isMissing)('records in PostgreSQL', () => {
  let server: PostgresServer
  let schemas = 0
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server.close())

  recordStoreContract('PostgreSQL', async (bounds) => {
    const schema = `records_${schemas++}`
    const open = () => openPostgresDatabase({ target: targetOf(server), schema })
    const [one, two] = [await open(), await open()]
    return {
      store: openPostgresRecordStore(one, bounds),
      other: openPostgresRecordStore(two, bounds),
      // The clock is that of the server, so the records move instead.
      wait: async (ms) => {
        const earlier = `expires_at - ${ms} * interval '1 millisecond'`
        await server.query(`UPDATE ${schema}.record SET expires_at = ${earlier}`)
      },
      async close() {
        await one.close()
        await two.close()
      },
    }
  })
})
