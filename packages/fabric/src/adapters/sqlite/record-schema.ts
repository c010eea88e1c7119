import { DatabaseSync } from 'node:sqlite'
import { RECORD_COLLECTIONS, type RecordCollection } from '../../state/record-store.ts'
import { dataFormat, otherFormat } from '../data-format.ts'

/** Another process holds the write lock for one batch at a time, some milliseconds. */
const busyTimeoutMs = 5_000
/** Pages written between two checkpoints, 16 MiB. A checkpoint syncs, in the writer's thread. */
const checkpointPages = 4_096

/** The name of a collection in the names of its tables. */
export const tableOf = (collection: RecordCollection): string => collection.replace('-', '_')

/**
 * Sequences are never used again (AUTOINCREMENT), and are given under the write lock, so that they
 * are in commit order.
 */
const schemaOf = (name: string): string => `
  CREATE TABLE ${name}_owner (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX ${name}_owner_size ON ${name}_owner (size);
  CREATE TABLE ${name} (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,
    owner INTEGER NOT NULL, value TEXT NOT NULL, expires_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX ${name}_by_owner ON ${name} (owner, sequence);
  CREATE INDEX ${name}_by_expiry ON ${name} (expires_at);
  INSERT INTO record_count (collection, size) VALUES ('${name}', 0);
`

/** Opens or creates the file. Throws when it is of another format, or without a write-ahead log. */
export function openRecordDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: busyTimeoutMs })
  try {
    const [journal] = database.prepare('PRAGMA journal_mode = WAL').all()
    if (journal?.['journal_mode'] !== 'wal') {
      throw new Error('SQLite does not grant a write-ahead log for the records')
    }
    // A crash of the process loses nothing. A loss of power may lose the last records: an id
    // without an owner is closed to every caller.
    database.exec('PRAGMA synchronous = NORMAL')
    database.exec('PRAGMA trusted_schema = OFF')
    database.exec(`PRAGMA wal_autocheckpoint = ${checkpointPages}`)
    prepareFormat(database)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function prepareFormat(database: DatabaseSync): void {
  database.exec('BEGIN IMMEDIATE')
  const [row] = database.prepare('PRAGMA user_version').all()
  const version = row?.['user_version']
  if (version !== 0 && version !== dataFormat) {
    database.exec('ROLLBACK')
    throw otherFormat('the record file', Number(version))
  }
  if (version === 0) {
    database.exec(
      `CREATE TABLE record_count (collection TEXT PRIMARY KEY, size INTEGER NOT NULL) STRICT;
       ${RECORD_COLLECTIONS.map((collection) => schemaOf(tableOf(collection))).join('')}
       PRAGMA user_version = ${dataFormat}`,
    )
  }
  database.exec('COMMIT')
}
