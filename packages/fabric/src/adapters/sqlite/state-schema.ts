import type { DatabaseSync } from 'node:sqlite'
import { dataFormat, otherFormat } from '../data-format.ts'

/**
 * `state_history` keeps the rows as their commits left them, for readers that follow. The one row
 * of `state_counter` is changed by each commit, which therefore holds the lock of writers until its
 * revision is visible: revisions are in commit order. `floor` is the newest revision of which
 * history was deleted.
 */
const schema = `
  CREATE TABLE state (
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, key)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE state_history (
    revision INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT, PRIMARY KEY (revision, ordinal)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE state_counter (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL, floor INTEGER NOT NULL, history_rows INTEGER NOT NULL
  ) STRICT;
  INSERT INTO state_counter VALUES (1, 0, 0, 0);
`

/** Makes the tables of a new file, and throws for a file of another format. */
export function prepareStateDatabase(database: DatabaseSync): void {
  prepareDurability(database)
  if (formatOf(database) === dataFormat) return
  database.exec('BEGIN IMMEDIATE')
  try {
    // Again, under the lock: another process may have made the tables meanwhile.
    const format = formatOf(database)
    if (format === 0) database.exec(`${schema} PRAGMA user_version = ${dataFormat}`)
    else if (format !== dataFormat) throw otherFormat('the state file', format)
    database.exec('COMMIT')
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

/** A pragma that SQLite does not honour is ignored silently, so it is read back. */
function prepareDurability(database: DatabaseSync): void {
  const [journal] = database.prepare('PRAGMA journal_mode = WAL').all()
  database.exec('PRAGMA synchronous = FULL')
  const [sync] = database.prepare('PRAGMA synchronous').all()
  if (journal?.['journal_mode'] !== 'wal' || sync?.['synchronous'] !== 2) {
    throw new Error('SQLite does not grant a write-ahead log with full synchronisation')
  }
}

function formatOf(database: DatabaseSync): number {
  return Number(database.prepare('PRAGMA user_version').get()?.['user_version'])
}
