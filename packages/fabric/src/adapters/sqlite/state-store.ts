import { DatabaseSync } from 'node:sqlite'
import { Serializer } from '../../concurrency/serializer.ts'
import {
  assertStateChanges,
  type Revision,
  type StateChange,
  type StateStore,
  stateHistoryRows,
} from '../../state/state-store.ts'
import { prepareStateDatabase } from './state-schema.ts'
import { type StateStatements, stateStatements } from './state-statements.ts'
import { whenNotBusy } from './when-not-busy.ts'

/** Between two looks for commits of other connections, each of which reads one counter. */
const wakePollMs = 50

/** History that is due is deleted in steps, so that no commit waits for all of it. */
const pruneRowsPerCommit = 256

export interface SqliteStateOptions {
  readonly historyRows?: number
  readonly pollMs?: number
}

/**
 * State in one SQLite file (`node:sqlite`), created when absent. Several processes may share it.
 *
 * Reads and commits block the event loop for one transaction; they are administration, not traffic.
 * While another process holds the lock of writers, a commit waits without blocking it.
 * Rejects when the file is of another format or when SQLite does not grant full durability.
 */
export async function openSqliteStateStore(
  path: string,
  options: SqliteStateOptions = {},
): Promise<StateStore> {
  const { historyRows = stateHistoryRows, pollMs = wakePollMs } = options
  const database = await whenNotBusy(path, () => openDatabase(path))
  const sql = stateStatements(database)
  // In the order of the calls, also of one that waits for another process.
  const turns = new Serializer()
  const run = <Result>(begin: 'BEGIN' | 'BEGIN IMMEDIATE', work: () => Result): Promise<Result> =>
    whenNotBusy(path, () => inTransaction(database, begin, work))
  const wakes = new Wakes(() => sql.dataVersion(), pollMs)

  return {
    read: () => run('BEGIN', () => ({ revision: sql.counter().revision, rows: sql.rows() })),
    async commit(changes) {
      assertStateChanges(changes)
      return turns.run(() => run('BEGIN IMMEDIATE', () => apply(sql, changes, historyRows)))
    },
    changes: (after, rowsMax) => run('BEGIN', () => sql.changes(after, rowsMax)),
    onWake: (listener) => wakes.add(listener),
    history: () => '',
    async close() {
      wakes.close()
      if (database.isOpen) database.close()
    },
  }
}

function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { enableForeignKeyConstraints: true, timeout: 0 })
  try {
    prepareStateDatabase(database)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** A transaction that fails is rolled back before the failure is passed on: none stays open. */
function inTransaction<Result>(
  database: DatabaseSync,
  begin: 'BEGIN' | 'BEGIN IMMEDIATE',
  work: () => Result,
): Result {
  // Immediate: the lock is taken before the first read, so nothing changes between check and write.
  database.exec(begin)
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

function apply(
  sql: StateStatements,
  changes: readonly StateChange[],
  historyRows: number,
): Revision | null {
  const holds = ({ table, key, expected }: StateChange) =>
    expected === undefined || sql.find(table, key) === expected
  if (!changes.every(holds)) return null
  const counter = sql.counter()
  if (changes.length === 0) return counter.revision
  const revision = counter.revision + 1
  for (const [ordinal, change] of changes.entries()) {
    sql.put(change)
    sql.append(revision, ordinal, change)
  }
  const rows = counter.historyRows + changes.length
  const excess = Math.min(Math.max(0, rows - historyRows), changes.length + pruneRowsPerCommit)
  // A commit of which one row is deleted is behind the history as a whole.
  const floor = excess === 0 ? counter.floor : sql.prune(excess)
  sql.count({ revision, floor, historyRows: rows - excess })
  return revision
}

/** Polls while there are listeners, and keeps no process alive. */
class Wakes {
  readonly #version: () => number
  readonly #pollMs: number
  readonly #listeners = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined
  #seen: number

  constructor(version: () => number, pollMs: number) {
    this.#version = version
    this.#pollMs = pollMs
    // Before the first read of the store: what is committed after that read is another version.
    this.#seen = version()
  }

  add(listener: () => void): () => void {
    this.#listeners.add(listener)
    this.#timer ??= setInterval(() => this.#look(), this.#pollMs).unref()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#stop()
    }
  }

  close(): void {
    this.#listeners.clear()
    this.#stop()
  }

  #look(): void {
    let version: number
    try {
      version = this.#version()
    } catch {
      // The listener reads and meets the fault where it is reported.
      version = Number.NaN
    }
    if (version === this.#seen) return
    this.#seen = version
    for (const listener of this.#listeners) listener()
  }

  #stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
