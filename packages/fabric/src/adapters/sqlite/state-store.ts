import { DatabaseSync } from 'node:sqlite'
import type { StateChange, StateStore } from '../../identity/state-store.ts'
import { dataFormat, otherFormat } from '../data-format.ts'

/** Another process holds the write lock for one commit at a time, some milliseconds. */
const busyTimeoutMs = 5_000

/**
 * State in one SQLite file (`node:sqlite`), created when absent.
 *
 * Writes block the event loop for one synced commit; they are administration, not traffic.
 * Throws when the file is of another format or when SQLite does not grant the durability asked for.
 */
export function openSqliteStateStore(path: string): StateStore {
  const database = new DatabaseSync(path, {
    enableForeignKeyConstraints: true,
    timeout: busyTimeoutMs,
  })
  try {
    prepareDurability(database)
    prepareFormat(database)
  } catch (error) {
    database.close()
    throw error
  }
  const find = database.prepare('SELECT value FROM state WHERE kind = ? AND key = ?')
  const list = database.prepare('SELECT key, value FROM state WHERE kind = ? ORDER BY key')
  const put = database.prepare(
    'INSERT INTO state (kind, key, value) VALUES (?, ?, ?) ' +
      'ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value',
  )
  const remove = database.prepare('DELETE FROM state WHERE kind = ? AND key = ?')

  const holds = ({ table, key, expected }: StateChange): boolean => {
    if (expected === undefined) return true
    const row = find.get(table, key)
    return (row === undefined ? null : row['value']) === expected
  }
  const apply = (changes: readonly StateChange[]): boolean => {
    // The lock is taken before the first read, so nothing changes between check and write.
    database.exec('BEGIN IMMEDIATE')
    try {
      if (!changes.every(holds)) {
        database.exec('ROLLBACK')
        return false
      }
      for (const { table, key, value } of changes) {
        if (value === null) remove.run(table, key)
        else put.run(table, key, value)
      }
      database.exec('COMMIT')
      return true
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK')
      throw error
    }
  }

  return {
    load: async (table) =>
      list.all(table).map((row) => ({ key: String(row['key']), value: String(row['value']) })),
    commit: async (changes) => apply(changes),
    async close() {
      if (database.isOpen) database.close()
    },
  }
}

/** A pragma that SQLite does not honour is ignored silently, so it is read back. */
function prepareDurability(database: DatabaseSync): void {
  const [journal] = database.prepare('PRAGMA journal_mode = WAL').all()
  database.exec('PRAGMA synchronous = FULL')
  const [sync] = database.prepare('PRAGMA synchronous').all()
  const inMemory = journal?.['journal_mode'] === 'memory'
  if (inMemory || journal?.['journal_mode'] !== 'wal' || sync?.['synchronous'] !== 2) {
    throw new Error('SQLite does not grant a write-ahead log with full synchronisation')
  }
}

function prepareFormat(database: DatabaseSync): void {
  database.exec('BEGIN IMMEDIATE')
  const [row] = database.prepare('PRAGMA user_version').all()
  const version = row?.['user_version']
  if (version !== 0 && version !== dataFormat) {
    database.exec('ROLLBACK')
    throw otherFormat('the state file', Number(version))
  }
  database.exec(
    `CREATE TABLE IF NOT EXISTS state (
       kind TEXT NOT NULL,
       key TEXT NOT NULL,
       value TEXT NOT NULL,
       PRIMARY KEY (kind, key)
     ) STRICT, WITHOUT ROWID;
     PRAGMA user_version = ${dataFormat};
     COMMIT`,
  )
}
