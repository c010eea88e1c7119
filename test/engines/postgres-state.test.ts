import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openPostgresDatabase } from '../../packages/fabric/src/adapters/postgresql/database.ts'
import { openPostgresSecretStore } from '../../packages/fabric/src/adapters/postgresql/secret-store.ts'
import {
  openSession,
  POSTGRES_TIMES,
  type PostgresTimes,
} from '../../packages/fabric/src/adapters/postgresql/session.ts'
import { stateStatements } from '../../packages/fabric/src/adapters/postgresql/state-statements.ts'
import { openPostgresStateStore } from '../../packages/fabric/src/adapters/postgresql/state-store.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import type { Revision, StateStore } from '../../packages/fabric/src/state/state-store.ts'
import { directoryContract } from '../contracts/directory.ts'
import { testKeys } from '../contracts/identity-lab.ts'
import { stateStoreContract } from '../contracts/state-store.ts'
import { twoProcessesContract } from '../contracts/two-processes.ts'
import { findPostgres, type PostgresServer, startPostgres, targetOf } from '../harness/postgres.ts'
import { openTcpProxy } from '../harness/tcp-proxy.ts'

const isMissing = findPostgres() === null

let server: PostgresServer
let schemas = 0
const newSchema = (): string => `state_${schemas++}`
beforeAll(async () => {
  if (!isMissing) server = await startPostgres()
})
afterAll(async () => {
  if (!isMissing) await server.close()
})

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** Short, for servers that do not answer; nothing else takes as long. */
const shortTimes: PostgresTimes = {
  ...POSTGRES_TIMES,
  connectMs: 500,
  readMs: 500,
  statementMs: 500,
}

interface Via {
  readonly port?: number
  readonly times?: PostgresTimes
  readonly historyRows?: number
}

async function open(schema: string, { port, ...options }: Via = {}): Promise<StateStore> {
  const target = targetOf(server, port === undefined ? {} : { port })
  const { times, ...kept } = options
  const database = await openPostgresDatabase({ target, schema, ...(times && { times }) })
  closers.push(() => database.close())
  const store = openPostgresStateStore(database, { random: systemRandom, ...kept })
  closers.push(() => store.close())
  return store
}

const agent = (key: string) => ({ table: 'agents', key, value: '1' }) as const

/** The statements of a commit, as another process sends them that is stopped in the middle. */
async function beginCommit(schema: string, key: string) {
  const session = await openSession(targetOf(server))
  closers.push(() => session.destroy())
  const sql = stateStatements(schema)
  await session.query('BEGIN')
  const { rows } = await session.query(sql.begin, [1])
  const revision = Number(rows[0]?.['revision'])
  await session.query(sql.put, [['agents'], [key], ['1']])
  const changes = JSON.stringify([['agents', key, '1']])
  await session.query(sql.log, [revision, revision - 1, revision, changes])
  return { finish: () => session.query('COMMIT') }
}

interface Page {
  readonly revision: Revision
  readonly keys: readonly string[]
}

/** Reads as every replica does: what comes after the revision that it has reached. */
function readerOf(changes: (after: Revision) => Promise<Page>) {
  const seen: string[] = []
  let reached = 0
  return async (): Promise<readonly string[]> => {
    const { revision, keys } = await changes(reached)
    reached = revision
    seen.push(...keys)
    return [...seen]
  }
}

const readerOfStore = (store: StateStore) =>
  readerOf(async (after) => {
    const page = await store.changes(after, 100)
    if (page === null) throw new Error('the reader fell behind')
    const keys = page.commits.flatMap(({ changes }) => changes.map(({ key }) => key))
    return { revision: page.revision, keys }
  })

describe.skipIf(isMissing)('state in PostgreSQL', () => {
  stateStoreContract('PostgreSQL', async (historyRows) => {
    const schema = newSchema()
    return () => open(schema, { historyRows })
  })
  directoryContract('PostgreSQL', async (historyRows) => {
    const schema = newSchema()
    return () => open(schema, { historyRows })
  })
  twoProcessesContract('PostgreSQL', async () => {
    const schema = newSchema()
    const database = await openPostgresDatabase({ target: targetOf(server), schema })
    closers.push(() => database.close())
    const masterKey = systemRandom(32)
    const secrets = await openPostgresSecretStore(database, { masterKey, random: systemRandom })
    return { openStore: () => open(schema), secrets, rootKeys: testKeys(secrets) }
  })

  test('is made once by processes that start together', async () => {
    const schema = newSchema()
    const stores = await Promise.all([1, 2, 3, 4].map(() => open(schema)))
    const revisions = await Promise.all(stores.map((store, i) => store.commit([agent(`a${i}`)])))
    expect(new Set(revisions)).toEqual(new Set([1, 2, 3, 4]))
  })

  test.each([
    ['table', 'state'],
    ['function', 'record_lock(text)'],
  ])('with a %s of another role is not used', async (kind, name) => {
    const [schema, own] = [newSchema(), `own_${kind}`]
    await server.query(`CREATE ROLE ${own} LOGIN PASSWORD 'own'; CREATE ROLE other_${kind}`)
    await server.query(`GRANT CREATE ON DATABASE postgres TO ${own}`)
    const target = { ...targetOf(server), user: own, password: async () => 'own' }
    const attempt = () => openPostgresDatabase({ target, schema })
    await (await attempt()).close()
    await (await attempt()).close()
    const what = `${kind} ${schema}.${name}`
    await server.query(`ALTER ${what} OWNER TO other_${kind}; GRANT ALL ON ${what} TO ${own}`)
    await expect(attempt()).rejects.toThrow(`belongs to the role other_${kind}`)
  })

  test('of another format is not touched', async () => {
    const schema = newSchema()
    await open(schema)
    await server.query(`UPDATE ${schema}.format SET version = 99`)
    await expect(open(schema)).rejects.toThrow('format 99')
  })

  test('outlives a crash of the server, and the store connects again', async () => {
    const store = await open(newSchema())
    expect(await store.commit([agent('before')])).toBe(1)
    await server.crash()
    await expect.poll(() => store.read().catch(() => null)).toMatchObject({ revision: 1 })
    expect(await store.commit([agent('after')])).toBe(2)
  })
})

describe.skipIf(isMissing)('two transactions that commit in reverse', () => {
  test('cannot with one locked counter, so that no reader skips a commit', async () => {
    const schema = newSchema()
    const store = await open(schema)
    const read = readerOfStore(store)
    const first = await beginCommit(schema, 'first')
    let isDone = false
    const second = store.commit([agent('second')]).finally(() => {
      isDone = true
    })
    await expect.poll(() => lockWaits()).toBe(1)
    expect(await read()).toEqual([])
    expect(isDone).toBe(false)
    await first.finish()
    expect(await second).toBe(2)
    expect(await read()).toEqual(['first', 'second'])
  })

  test('do with a sequence, and the same reader never learns of the first', async () => {
    const schema = newSchema()
    await server.query(
      `CREATE SCHEMA ${schema}; CREATE SEQUENCE ${schema}.revision;
       CREATE TABLE ${schema}.change (revision bigint, key text)`,
    )
    const begin = async (key: string) => {
      const session = await openSession(targetOf(server))
      closers.push(() => session.destroy())
      await session.query('BEGIN')
      const values = `VALUES (nextval('${schema}.revision'), $1)`
      await session.query(`INSERT INTO ${schema}.change ${values}`, [key])
      return { finish: () => session.query('COMMIT') }
    }
    const read = readerOf(async (after) => {
      const from = `FROM ${schema}.change WHERE revision > $1 ORDER BY revision`
      const rows = await server.query(`SELECT revision, key ${from}`, [after])
      const revision = Number(rows.at(-1)?.['revision'] ?? after)
      return { revision, keys: rows.map((row) => String(row['key'])) }
    })
    const first = await begin('first')
    const second = await begin('second')
    await second.finish()
    expect(await read()).toEqual(['second'])
    await first.finish()
    expect(await read()).toEqual(['second'])
  })

  test('are not held up for ever by a process that stops in the middle', async () => {
    const schema = newSchema()
    const store = await open(schema)
    await beginCommit(schema, 'stopped')
    await expect.poll(() => store.commit([agent('other')]).catch(() => null)).toBe(1)
    expect((await store.read()).rows).toEqual([agent('other')])
  })
})

describe.skipIf(isMissing)('a network between store and server', () => {
  const openBehindProxy = async () => {
    const proxy = await openTcpProxy(server.port)
    closers.push(() => proxy.close())
    const schema = newSchema()
    const times = shortTimes
    return {
      proxy,
      store: await open(schema, { port: proxy.port, times }),
      other: await open(schema),
    }
  }

  test('that hangs ends reads and commits at their time, and is used again after it', async () => {
    const { proxy, store, other } = await openBehindProxy()
    await store.commit([agent('before')])
    proxy.hang()
    await expect(store.changes(0, 10)).rejects.toThrow('no answer within')
    await expect(store.read()).rejects.toThrow('cannot be used: no answer within')
    await expect(store.commit([agent('lost')])).rejects.toThrow('cannot be used: no answer within')
    await other.commit([agent('meanwhile')])
    proxy.resume()
    const page = await store.changes(1, 10)
    expect(page?.commits).toEqual([{ revision: 2, changes: [agent('meanwhile')] }])
  })

  test('that loses the answer of a commit leaves it unknown, and the stream has it', async () => {
    const { proxy, store } = await openBehindProxy()
    await store.commit([agent('before')])
    proxy.loseResponseTo('COMMIT\0')
    await expect(store.commit([agent('a')])).rejects.toThrow('its effect is unknown')
    const page = await store.changes(1, 10)
    expect(page?.commits).toEqual([{ revision: 2, changes: [agent('a')] }])
  })

  test('that ends before the commit leaves nothing', async () => {
    const { proxy, store, other } = await openBehindProxy()
    await store.commit([agent('before')])
    proxy.loseResponseTo('state_counter SET')
    await expect(store.commit([agent('a')])).rejects.toThrow()
    await expect.poll(() => other.commit([agent('b')]).catch(() => null)).toBe(2)
    expect((await store.read()).rows).toEqual([agent('before'), agent('b')])
  })

  test('that ends wakes its listeners once it is there again', async () => {
    const { proxy, store, other } = await openBehindProxy()
    let wakes = 0
    store.onWake(() => wakes++)
    await expect.poll(() => wakes).toBe(1)
    proxy.cut()
    await expect.poll(() => wakes).toBe(2)
    await other.commit([agent('a')])
    await expect.poll(() => wakes).toBe(3)
  })
})

describe.skipIf(isMissing)('a server that lost commits', () => {
  test('returns null to those who had read them, and nothing is skipped', async () => {
    const schema = newSchema()
    const store = await open(schema)
    for (const key of ['a', 'b', 'c']) await store.commit([agent(key)])
    expect((await store.read()).revision).toBe(3)
    // A failover to a server that had the first of them only.
    await server.query(`DELETE FROM ${schema}.state_commit WHERE revision > 1`)
    await server.query(`DELETE FROM ${schema}.state WHERE key > 'a'`)
    await server.query(`UPDATE ${schema}.state_counter SET revision = 1, rows_total = 1`)
    expect(await store.changes(3, 10)).toBeNull()
    const other = await open(schema)
    for (const key of ['d', 'e', 'f']) await other.commit([agent(key)])
    // The revision is there again, and it is another commit.
    expect(await store.changes(3, 10)).toBeNull()
    expect((await store.read()).rows.map(({ key }) => key)).toEqual(['a', 'd', 'e', 'f'])
    expect(await store.changes(4, 10)).toEqual({ revision: 4, commits: [] })
  })

  test('as after a failover has another history, in which earlier knowledge commits nothing', async () => {
    const store = await open(newSchema())
    await store.commit([agent('a')])
    const { revision } = await store.read()
    const before = store.history()
    expect(before).toMatch(/^\d+\/[0-9A-F]{8}$/)
    await server.crash()
    await expect.poll(() => store.changes(revision, 10).catch(() => null)).not.toBeNull()
    expect(store.history()).toBe(before)
    await server.failOver()
    // The change was made of what the server before had.
    await expect.poll(() => store.commit([agent('b')]).catch(() => 0)).toBeNull()
    expect(store.history()).not.toBe(before)
    expect(await store.changes(revision, 10)).toEqual({ revision, commits: [] })
    expect(await store.commit([agent('b')])).toBe(revision + 1)
  })

  test('has a history that a role without any rights can read', async () => {
    await server.query(`CREATE ROLE plain LOGIN PASSWORD 'plain'`)
    const target = { ...targetOf(server), user: 'plain', password: async () => 'plain' }
    const sessions = [await openSession(target), await openSession(targetOf(server))]
    closers.push(() => sessions.forEach((session) => session.destroy()))
    expect(sessions[0]?.history).toMatch(/^\d+\/[0-9A-F]{8}$/)
    expect(sessions[0]?.history).toBe(sessions[1]?.history)
    const position = 'FUNCTION pg_current_wal_insert_lsn()'
    await server.query(`REVOKE EXECUTE ON ${position} FROM PUBLIC`)
    const withheld = await openSession(target)
    closers.push(() => withheld.destroy())
    expect(withheld.history).toMatch(/^\d+\.\d+\/00000000$/)
    await server.query(`GRANT EXECUTE ON ${position} TO PUBLIC`)
  })

  test('that waits for a standby in vain does not confirm a commit', async () => {
    const store = await open(newSchema())
    await server.query(`ALTER SYSTEM SET synchronous_standby_names = 'absent'`)
    await server.query('SELECT pg_reload_conf()')
    closers.push(async () => {
      await server.query('ALTER SYSTEM RESET synchronous_standby_names')
      await server.query('SELECT pg_reload_conf()')
    })
    const commit = store.commit([agent('a')]).catch((error: unknown) => String(error))
    // As an operator does whose commits hang: the server then sends COMMIT, and a warning.
    const cancel =
      "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    await expect.poll(() => server.query(cancel)).not.toEqual([])
    expect(await commit).toMatch('canceling wait for synchronous replication')
  })
})

async function lockWaits(): Promise<number> {
  const sql = "SELECT count(*)::int AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
  return Number((await server.query(sql))[0]?.['count'])
}
