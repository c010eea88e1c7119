import type { Random } from '../../lib/random.ts'
import type { SecretStore } from '../../secrets/secret-store.ts'
import {
  deriveWrappingKey,
  type Envelope,
  parseEnvelope,
  rewrapEnvelope,
  SecretRejected,
  sealEnvelope,
  unsealEnvelope,
  type WrappingKey,
  writeEnvelope,
} from '../secret-envelope.ts'
import { assertSecretName, parseVersions, writeVersions } from '../secret-index.ts'
import type { Row } from './client.ts'
import type { PostgresDatabase } from './database.ts'
import { isPrepared, lockSchema } from './schema.ts'
import { openSession, type PostgresTarget, type Session } from './session.ts'

export interface PostgresSecretOptions {
  /** 32 bytes, the same for all processes. Not kept: only what is derived from it is. */
  readonly masterKey: Uint8Array
  readonly random: Random
}

/** No name can begin with a dot, so the index shares its table with secrets. */
const indexName = '.index'

/** Returns whether another process has stored secrets there. */
export async function hasPostgresSecrets(database: PostgresDatabase): Promise<boolean> {
  const { sessions, schema } = database
  const { rows } = await sessions.use((session) =>
    session.query(`SELECT 1 FROM ${schema}.secret LIMIT 1`),
  )
  return rows.length > 0
}

/**
 * Opens every secret that the index names, and changes nothing. Resolves to their number, and to
 * null where there are none yet; only otherwise is the master key asked for.
 */
export async function inspectPostgresSecrets(
  target: PostgresTarget,
  schema: string,
  openMasterKey: () => Promise<Uint8Array>,
): Promise<number | null> {
  const session = await openSession(target)
  try {
    if (!(await isPrepared(session, schema))) return null
    const { rows } = await session.query(`SELECT name, envelope FROM ${schema}.secret`)
    if (rows.length === 0) return null
    const key = deriveWrappingKey(await openMasterKey())
    const { versions } = readIndex(rows, key)
    for (const [name, known] of versions) {
      const envelope = envelopeOf(rows, name, known)
      if (envelope === null) throw secretMissing(name)
      unsealEnvelope(envelope, key).fill(0)
    }
    return versions.size
  } finally {
    session.destroy()
  }
}

/**
 * Sealed secrets in a table: the server and its backups never hold a key that opens one.
 *
 * As in the folder of secrets, an index, sealed as well, holds the version of each. Each write
 * locks the index row first and writes it last, in one transaction: writers of all processes take
 * turns, and a secret whose version is not that of the index was changed by another hand.
 */
export async function openPostgresSecretStore(
  database: PostgresDatabase,
  options: PostgresSecretOptions,
): Promise<SecretStore> {
  const store = new PostgresSecretStore(database, options)
  await store.open()
  return store
}

/** The index as it is at one moment. */
interface Index {
  readonly version: number
  readonly versions: Map<string, number>
}

class PostgresSecretStore implements SecretStore {
  readonly #database: PostgresDatabase
  readonly #table: string
  readonly #random: Random
  #key: WrappingKey

  constructor(database: PostgresDatabase, { masterKey, random }: PostgresSecretOptions) {
    this.#database = database
    this.#table = `${database.schema}.secret`
    this.#random = random
    this.#key = deriveWrappingKey(masterKey)
  }

  /** Of several that start together, the first makes the index, and the others open it. */
  open(): Promise<void> {
    return this.#database.secretSessions.use(async (session) => {
      await session.query('BEGIN ISOLATION LEVEL READ COMMITTED')
      await lockSchema(session, this.#database.schema)
      const { rows } = await session.query(`SELECT name, envelope FROM ${this.#table}`)
      if (rows.some((row) => row['name'] === indexName)) readIndex(rows, this.#key)
      else if (rows.length > 0) throw indexMissing()
      else await this.#write(session, this.#sealIndex({ version: 1, versions: new Map() }))
      await session.query('COMMIT')
    })
  }

  find(name: string): Promise<Uint8Array | null> {
    assertSecretName(name)
    return this.#database.secretSessions.use((session) => this.#find(session, name))
  }

  async put(name: string, value: Uint8Array): Promise<void> {
    assertSecretName(name)
    const copy = value.slice()
    await this.#alone((session, index) => this.#put(session, index, { name, value: copy })).finally(
      () => copy.fill(0),
    )
  }

  create(name: string, value: Uint8Array): Promise<Uint8Array> {
    assertSecretName(name)
    const copy = value.slice()
    return this.#alone(async (session, index) => {
      const stored = await this.#find(session, name)
      if (stored !== null) return stored
      await this.#put(session, index, { name, value: copy })
      return copy
    })
  }

  list(): Promise<readonly string[]> {
    return this.#database.secretSessions.use(async (session) => {
      const { rows } = await this.#rows(session, [indexName])
      return [...readIndex(rows, this.#key).versions.keys()].toSorted()
    })
  }

  /** In one transaction: each process that still has the old key opens nothing afterwards. */
  async rotate(newMasterKey: Uint8Array): Promise<void> {
    const next = deriveWrappingKey(newMasterKey)
    if (next.id === this.#key.id) throw new TypeError('the new master key is the one in force')
    await this.#alone(async (session, { version, versions }) => {
      const to = { keys: [next], random: this.#random }
      const { rows } = await this.#rows(session, [...versions.keys()])
      for (const [name, known] of versions) {
        const envelope = envelopeOf(rows, name, known)
        if (envelope === null) throw secretMissing(name)
        await this.#write(session, rewrapEnvelope(envelope, this.#key, to))
      }
      await this.#write(session, this.#sealIndex({ version: version + 1, versions }, next))
    })
    this.#key = next
  }

  /** Secret and index in one statement, and so as one transaction left them. */
  async #find(session: Session, name: string): Promise<Uint8Array | null> {
    const { rows } = await this.#rows(session, [name, indexName])
    const index = readIndex(rows, this.#key)
    const envelope = envelopeOf(rows, name, index.versions.get(name) ?? 0)
    return envelope === null ? null : unsealEnvelope(envelope, this.#key)
  }

  async #put(
    session: Session,
    { version, versions }: Index,
    { name, value }: { readonly name: string; readonly value: Uint8Array },
  ): Promise<void> {
    const next = (versions.get(name) ?? 0) + 1
    const sealed = sealEnvelope({ name, version: next, value }, [this.#key], this.#random)
    await this.#write(session, sealed)
    const index = { version: version + 1, versions: new Map(versions).set(name, next) }
    await this.#write(session, this.#sealIndex(index))
  }

  /** Runs `work` in a transaction that holds the lock of the index. */
  #alone<T>(work: (session: Session, index: Index) => Promise<T>): Promise<T> {
    return this.#database.secretSessions.use(async (session) => {
      await session.query('BEGIN ISOLATION LEVEL READ COMMITTED')
      const sql = `SELECT name, envelope FROM ${this.#table} WHERE name = $1 FOR UPDATE`
      const { rows } = await session.query(sql, [indexName])
      const result = await work(session, readIndex(rows, this.#key))
      const { command } = await session.query('COMMIT')
      if (command !== 'COMMIT') throw new Error(`PostgreSQL answered a commit with ${command}`)
      return result
    })
  }

  #rows(session: Session, names: readonly string[]) {
    const sql = `SELECT name, envelope FROM ${this.#table} WHERE name = ANY ($1::text[])`
    return session.query(sql, [names])
  }

  async #write(session: Session, envelope: Envelope): Promise<void> {
    await session.query(
      `INSERT INTO ${this.#table} VALUES ($1, $2)
       ON CONFLICT (name) DO UPDATE SET envelope = excluded.envelope`,
      [envelope.name, Buffer.from(writeEnvelope(envelope))],
    )
  }

  #sealIndex({ version, versions }: Index, key = this.#key): Envelope {
    const what = { name: indexName, version, value: writeVersions(versions) }
    return sealEnvelope(what, [key], this.#random)
  }
}

/** Throws where the index is missing, or this master key does not open it. */
function readIndex(rows: readonly Row[], key: WrappingKey): Index {
  const row = rows.find((each) => each['name'] === indexName)
  if (row === undefined) throw indexMissing()
  const envelope = parseEnvelope(bytesOf(row), 'index')
  if (envelope.name !== indexName) throw swapped(indexName)
  if (!envelope.wraps.some((wrap) => wrap.key === key.id)) throw wrongKey()
  return { version: envelope.version, versions: parseVersions(unsealEnvelope(envelope, key)) }
}

/** The secret of a name, at the version that the index has; null where that has none. */
function envelopeOf(rows: readonly Row[], name: string, known: number): Envelope | null {
  const row = rows.find((each) => each['name'] === name)
  if (row === undefined && known === 0) return null
  if (row === undefined) throw secretMissing(name)
  const envelope = parseEnvelope(bytesOf(row), name)
  if (envelope.name !== name) throw swapped(name)
  if (envelope.version === known) return envelope
  throw new SecretRejected(`secret ${name} is not the version that the index has`)
}

function bytesOf(row: Row): Uint8Array {
  const bytes = row['envelope']
  if (bytes instanceof Uint8Array) return bytes
  throw new TypeError('PostgreSQL returned a secret that is not bytes')
}

const swapped = (name: string) => new SecretRejected(`secret ${name} was swapped for another`)

function indexMissing(): SecretRejected {
  return new SecretRejected('the index of secrets is missing in PostgreSQL; restore a backup')
}

function secretMissing(name: string): SecretRejected {
  return new SecretRejected(`secret ${name} is missing in PostgreSQL; restore a backup`)
}

function wrongKey(): SecretRejected {
  return new SecretRejected(
    'the master key does not open the secrets in PostgreSQL; give each fabric that shares the state the master key of the first',
  )
}
