import { DatabaseSync } from 'node:sqlite'
import { dataFormat, otherFormat } from '../data-format.ts'

/**
 * A message's key is its channel's number and its offset in one integer below 2^53, so that the
 * log of a channel is one range of one B-tree and publishing appends to it.
 */
export const OFFSETS_PER_CHANNEL: number = 2 ** 37
export const CHANNELS_MAX: number = 2 ** 16 - 1
/** A parked or settled delivery is never due by the clock. */
export const NEVER: number = Number.MAX_SAFE_INTEGER
/**
 * From here to `NEVER`, `due` is not a time: it is a place among the messages that were passed
 * over. No clock reaches it, so that a message which no receiver could be given never comes before
 * one that has not been looked at.
 */
export const PLACES_FROM: number = 2 ** 52

/**
 * Above this, a full integrity check at start would take minutes; the quick one still reads every
 * page.
 */
const fullCheckBytesMax = 1024 * 1024 * 1024

const schema = `
  CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE channel (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    last_offset INTEGER NOT NULL, messages INTEGER NOT NULL, bytes INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE message (
    key INTEGER PRIMARY KEY, stored_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
    size INTEGER NOT NULL, message_id TEXT NOT NULL, ordering TEXT, sealed BLOB NOT NULL
  ) STRICT;
  CREATE TABLE dedup (
    channel INTEGER NOT NULL, hash TEXT NOT NULL, content TEXT NOT NULL,
    offset INTEGER NOT NULL, expires_at INTEGER NOT NULL, PRIMARY KEY (channel, hash)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX dedup_expiry ON dedup (expires_at);
  CREATE TABLE consumer_group (
    id INTEGER PRIMARY KEY, channel INTEGER NOT NULL, name TEXT NOT NULL,
    cursor INTEGER NOT NULL, UNIQUE (channel, name)
  ) STRICT;
  CREATE TABLE delivery (
    grp INTEGER NOT NULL, offset INTEGER NOT NULL, due INTEGER NOT NULL,
    token TEXT, attempts INTEGER NOT NULL, ordering TEXT, PRIMARY KEY (grp, offset)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX delivery_due ON delivery (grp, due);
  CREATE INDEX delivery_ordering ON delivery (grp, ordering) WHERE ordering IS NOT NULL;
  CREATE TABLE dead_letter (
    channel INTEGER NOT NULL, grp INTEGER NOT NULL, offset INTEGER NOT NULL,
    message_id TEXT NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (channel, offset, grp)
  ) STRICT, WITHOUT ROWID;
`

export interface OpenChannelDatabase {
  readonly path: string
  /** Always FULL, except in the crash test that shows what anything less loses. */
  readonly synchronous: 'FULL' | 'NORMAL'
}

/**
 * Opens or creates the file, alone: a second process is refused. Throws when the file is damaged,
 * of another version, or would not keep what it acknowledges.
 */
export function openChannelDatabase({ path, synchronous }: OpenChannelDatabase): DatabaseSync {
  const database = new DatabaseSync(path, { enableForeignKeyConstraints: true })
  try {
    // Before journal_mode, so that the log's index lives in this process and no other process can
    // open it.
    database.exec('PRAGMA locking_mode = EXCLUSIVE')
    database.exec('PRAGMA journal_mode = WAL')
    database.exec(`PRAGMA synchronous = ${synchronous}`)
    database.exec('PRAGMA trusted_schema = OFF')
    database.exec('PRAGMA cell_size_check = ON')
    // Checkpoints run on our timer, between transactions, and never inside of a publish.
    database.exec('PRAGMA wal_autocheckpoint = 0')
    database.exec('PRAGMA cache_size = -65536')
    expectPragma(database, 'journal_mode', 'wal')
    // Builds of SQLite exist whose WAL mode silently is NORMAL, so it is read back.
    expectPragma(database, 'synchronous', synchronous === 'FULL' ? 2 : 1)
    migrate(database)
    if (!markOpened(database)) checkIntegrity(database)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** The last thing before closing; without it the next start checks the whole file. */
export function closeChannelDatabase(database: DatabaseSync): void {
  database.exec("UPDATE state SET value = 1 WHERE name = 'clean'")
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  database.close()
}

function migrate(database: DatabaseSync): void {
  const version = readPragma(database, 'user_version')
  if (version === dataFormat) return
  if (version !== 0) throw otherFormat('the channel store', Number(version))
  database.exec('BEGIN IMMEDIATE')
  database.exec(schema)
  database.exec("INSERT INTO state (name, value) VALUES ('clean', 1)")
  database.exec(`PRAGMA user_version = ${dataFormat}`)
  database.exec('COMMIT')
}

/** True when the last close was orderly. From here on it counts as not. */
function markOpened(database: DatabaseSync): boolean {
  const row = database.prepare("SELECT value FROM state WHERE name = 'clean'").get()
  database.exec("UPDATE state SET value = 0 WHERE name = 'clean'")
  return row?.['value'] === 1
}

function checkIntegrity(database: DatabaseSync): void {
  const bytes =
    Number(readPragma(database, 'page_count')) * Number(readPragma(database, 'page_size'))
  const check = bytes > fullCheckBytesMax ? 'quick_check' : 'integrity_check'
  const found = readPragma(database, check)
  if (found !== 'ok') throw new Error(`the channel store is damaged: ${String(found)}`)
}

function expectPragma(database: DatabaseSync, name: string, expected: string | number): void {
  const found = readPragma(database, name)
  if (found !== expected) throw new Error(`${name} is ${String(found)}, not ${expected}`)
}

function readPragma(database: DatabaseSync, name: string): unknown {
  const row = database.prepare(`PRAGMA ${name}`).get()
  return row === undefined ? undefined : Object.values(row)[0]
}
