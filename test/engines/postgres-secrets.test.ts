import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import {
  openPostgresDatabase,
  type PostgresDatabase,
} from '../../packages/fabric/src/adapters/postgresql/database.ts'
import {
  inspectPostgresSecrets,
  openPostgresSecretStore,
} from '../../packages/fabric/src/adapters/postgresql/secret-store.ts'
import { storedKeys } from '../../packages/fabric/src/adapters/stored-keys/key-provider.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { testClock } from '../contracts/identity-lab.ts'
import { keyProviderContract } from '../contracts/key-provider.ts'
import { secretStoreContract } from '../contracts/secret-store.ts'
import { findPostgres, type PostgresServer, startPostgres, targetOf } from '../harness/postgres.ts'

const isMissing = findPostgres() === null
const masterKey = new Uint8Array(32).fill(0xa1)
const random = systemRandom
const value = (text: string): Uint8Array => new TextEncoder().encode(text)

describe.skipIf(isMissing)('secrets in PostgreSQL', () => {
  let server: PostgresServer
  const databases: PostgresDatabase[] = []
  let schemas = 0
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(async () => {
    for (const database of databases) await database.close()
    await server.close()
  })

  const openDatabase = async (schema: string): Promise<PostgresDatabase> => {
    const database = await openPostgresDatabase({ target: targetOf(server), schema })
    databases.push(database)
    return database
  }
  const openFilled = async () => {
    const schema = `secrets_${schemas++}`
    const database = await openDatabase(schema)
    const store = await openPostgresSecretStore(database, { masterKey, random })
    await store.put('ca/a', value('the private key of the root'))
    await store.put('ca/b', value('another'))
    return { schema, store, database }
  }
  const inspect = (schema: string) =>
    inspectPostgresSecrets(targetOf(server), schema, async () => masterKey)

  secretStoreContract('PostgreSQL', async () => {
    const schema = `secrets_${schemas++}`
    return async (key) =>
      openPostgresSecretStore(await openDatabase(schema), { masterKey: key, random })
  })

  keyProviderContract('the secret store, in PostgreSQL', async () => {
    const clock = testClock()
    const target = targetOf(server)
    const database = await openPostgresDatabase({ target, schema: `secrets_${schemas++}` })
    onTestFinished(() => database.close())
    return {
      async open() {
        const secrets = await openPostgresSecretStore(database, { masterKey, random })
        return storedKeys({ secrets, clock, random })
      },
      advance: clock.advance,
    }
  })

  test('are inspected without a change, also before there are any', async () => {
    expect(await inspect('never_made')).toBeNull()
    const found = await server.query(`SELECT to_regnamespace('never_made') AS made`)
    expect(found).toEqual([{ made: null }])
    const { schema } = await openFilled()
    expect(await inspect(schema)).toBe(2)
  })

  test('are on the server without a value or the master key in clear', async () => {
    const { schema } = await openFilled()
    const rows = await server.query(`SELECT envelope FROM ${schema}.secret`)
    expect(rows).toHaveLength(3)
    for (const { envelope } of rows) {
      const bytes = envelope as Buffer
      expect(bytes.includes('private key of')).toBe(false)
      expect(bytes.includes(Buffer.from(masterKey).toString('base64'))).toBe(false)
    }
  })

  test.each([
    ['is deleted', (s: string) => `DELETE FROM ${s}.secret WHERE name = 'ca/a'`, 'is missing'],
    [
      'is put under the name of another',
      (s: string) =>
        `UPDATE ${s}.secret SET envelope = (SELECT envelope FROM ${s}.secret WHERE name = 'ca/b')
         WHERE name = 'ca/a'`,
      'swapped for another',
    ],
    ['is damaged', (s: string) => `UPDATE ${s}.secret SET envelope = '\\x00'`, 'damaged'],
    [
      'stands without the index',
      (s: string) => `DELETE FROM ${s}.secret WHERE name = '.index'`,
      'index of secrets is missing',
    ],
  ])('reject when one of them %s on the server', async (_, change, says) => {
    const { schema, store, database } = await openFilled()
    await server.query(change(schema))
    await expect(store.find('ca/a')).rejects.toThrow(says)
    await expect(store.create('ca/a', value('new'))).rejects.toThrow(says)
    await expect(inspect(schema)).rejects.toThrow(says)
    if (!says.includes('index')) return
    await expect(openPostgresSecretStore(database, { masterKey, random })).rejects.toThrow(says)
  })

  test('reject one that was put back to an older version', async () => {
    const { schema, store } = await openFilled()
    const select = `SELECT envelope FROM ${schema}.secret WHERE name = 'ca/a'`
    const [old] = await server.query(select)
    await store.put('ca/a', value('new'))
    await server.query(`UPDATE ${schema}.secret SET envelope = $1 WHERE name = 'ca/a'`, [
      old?.['envelope'],
    ])
    await expect(store.find('ca/a')).rejects.toThrow('not the version that the index has')
  })
})
