import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  openPostgresDatabase,
  type PostgresDatabase,
} from '../../packages/fabric/src/adapters/postgresql/database.ts'
import { openPostgresSecretStore } from '../../packages/fabric/src/adapters/postgresql/secret-store.ts'
import { openSession } from '../../packages/fabric/src/adapters/postgresql/session.ts'
import { openPostgresStateStore } from '../../packages/fabric/src/adapters/postgresql/state-store.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { openTestSlot } from '../harness/log-slots.ts'
import { findPostgres, type PostgresServer, startPostgres, targetOf } from '../harness/postgres.ts'

/** More than there are connections, and than one round of waits for a lock gives back. */
const crowd = 64

describe.skipIf(findPostgres() === null)('a crowd that waits for a table', () => {
  let server: PostgresServer
  let schemas = 0
  const closers: (() => unknown)[] = []
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server.close())
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close()
  })

  const openDatabase = async (): Promise<PostgresDatabase> => {
    const schema = `shares_${schemas++}`
    const database = await openPostgresDatabase({ target: targetOf(server), schema })
    closers.push(() => database.close())
    return database
  }

  /** As a slow statement of an administrator does. */
  const lock = async (table: string): Promise<void> => {
    const session = await openSession(targetOf(server))
    closers.push(() => session.destroy())
    await session.query(`BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0`)
    await session.query(`LOCK TABLE ${table}`)
  }

  const openState = (database: PostgresDatabase) => {
    const store = openPostgresStateStore(database, { random: systemRandom })
    closers.push(() => store.close())
    return store
  }

  test('of log slots, as unauthenticated clients do, leaves the state readable', async () => {
    const database = await openDatabase()
    const dir = mkdtempSync(join(tmpdir(), 'countersign-shares-'))
    closers.push(() => rmSync(dir, { recursive: true }))
    const slot = await openTestSlot(database, dir)
    closers.push(() => slot.close().catch(() => undefined))
    const state = openState(database)
    await lock(`${database.schema}.lease`)
    const asked = Array.from({ length: crowd }, () => slot.slots().catch(String))
    expect(await state.changes(0, 10)).toEqual({ revision: 0, commits: [] })
    await Promise.all(asked)
  })

  test('of secrets, as requests for tokens do, leaves the state readable', async () => {
    const database = await openDatabase()
    const options = { masterKey: systemRandom(32), random: systemRandom }
    const secrets = await openPostgresSecretStore(database, options)
    const state = openState(database)
    await lock(`${database.schema}.secret`)
    const asked = Array.from({ length: crowd }, () => secrets.find('a').catch(String))
    expect(await state.changes(0, 10)).toEqual({ revision: 0, commits: [] })
    await Promise.all(asked)
  })
})
