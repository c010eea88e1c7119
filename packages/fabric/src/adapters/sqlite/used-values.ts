import { hash } from 'node:crypto'
import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { UsedValues } from '../../identity/replay-guard.ts'
import { type Clock, hostMonotonic } from '../../lib/clock.ts'
import { dataFormat, otherFormat } from '../data-format.ts'
import { whenNotBusy } from './when-not-busy.ts'

/** A day: no credential here lives longer. */
const windowMsMax = 86_400_000
/** Claims of one transaction; it bounds how long other processes wait for the lock. */
const batchMax = 256
/** Claims that wait; above it, callers receive an error. */
const pendingMax = 65_536
/** Expired values that one transaction deletes: more than it can add. */
const sweepMax = 2 * batchMax

export interface SharedValuesOptions {
  /** An existing folder, in which each process holds the lock of those that share it. */
  readonly dir: string
  readonly clock: Pick<Clock, 'now'>
  /** The id of this boot of the host. Null if the system has none: each start is a loss. */
  readonly bootId: string | null
  /** True when no value can have been used before: the fabric is new. */
  readonly isFirst: boolean
  readonly valuesMax: number
  /** Milliseconds of a clock that all processes of this host share; by default since its boot. */
  readonly now?: () => number
  /** Reports why values may have been lost. */
  onLoss(reason: string): void
}

export interface SharedValues extends UsedValues {
  /** Why the last claims could not be decided; null while they can. */
  fault(): string | null
  close(): void
}

/** Names of the files, for the engine that follows on this one: what it left is of no use then. */
export const sharedValuesName = /^[0-9a-f-]{1,36}\.shared(-wal|-shm)?$/

/**
 * Used values that all processes on one data folder share, in one SQLite file for each boot of the
 * host. Nothing is synced: the page cache outlives a process, and after the end of the kernel no
 * process reads the file again, because its name has the id of the boot.
 */
export async function openSharedValues(options: SharedValuesOptions): Promise<SharedValues> {
  const { dir, bootId } = options
  const name = `${bootId ?? '0'}.shared`
  for (const other of readdirSync(dir)) {
    if (sharedValuesName.test(other) && !other.startsWith(name)) rmSync(join(dir, other))
  }
  const path = join(dir, name)
  const database = await whenNotBusy(path, () => openDatabase(path))
  try {
    const lostAt = await whenNotBusy(path, () =>
      inTransaction(database, () => markLoss(database, path, options)),
    )
    return new SharedFile({ database, path, lostAt, options })
  } catch (cause) {
    database.close()
    throw cause
  }
}

interface Claim {
  readonly key: string
  readonly windowMs: number
  settle(outcome: Outcome): void
}

/** An error for the one claim that the bound excludes. */
type Outcome = boolean | Error

interface Opened {
  readonly database: DatabaseSync
  readonly path: string
  readonly lostAt: number
  readonly options: SharedValuesOptions
}

class SharedFile implements SharedValues {
  readonly #opened: Opened
  readonly #sql: ReturnType<typeof prepare>
  readonly #now: () => number
  #waiting: Claim[] = []
  #isWorking = false
  #fault: string | null = null

  constructor(opened: Opened) {
    this.#opened = opened
    this.#sql = prepare(opened.database)
    this.#now = opened.options.now ?? hostMonotonic
  }

  async claim(value: string, windowMs: number): Promise<boolean> {
    if (!(windowMs > 0 && windowMs <= windowMsMax)) throw new RangeError('window out of range')
    if (this.#waiting.length >= pendingMax) throw new Error(`more than ${pendingMax} claims wait`)
    // By its hash: a long value must not cost more than a short one.
    const key = hash('sha256', value, 'base64url')
    const outcome = await new Promise<Outcome>((settle) => {
      this.#waiting.push({ key, windowMs, settle })
      // One transaction for everything that this turn claims.
      if (!this.#isWorking) setImmediate(() => void this.#work())
      this.#isWorking = true
    })
    if (outcome instanceof Error) throw outcome
    return outcome
  }

  lostAt(): number {
    return this.#opened.lostAt
  }

  fault(): string | null {
    return this.#fault
  }

  close(): void {
    const { database } = this.#opened
    if (database.isOpen) database.close()
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, batchMax)
      const outcomes = await this.#commit(batch)
      for (const [at, { settle }] of batch.entries()) {
        settle(outcomes instanceof Error ? outcomes : (outcomes[at] ?? false))
      }
    }
    this.#isWorking = false
  }

  /** All outcomes after their COMMIT; or an error, and nothing was claimed. */
  async #commit(batch: readonly Claim[]): Promise<readonly Outcome[] | Error> {
    const { database, path } = this.#opened
    try {
      const outcomes = await whenNotBusy(path, () =>
        inTransaction(database, () => this.#claimEach(batch)),
      )
      this.#fault = null
      return outcomes
    } catch (cause) {
      const fault = cause instanceof Error ? cause : new Error(String(cause))
      this.#fault = `used values cannot be kept: ${fault.message}`
      return fault
    }
  }

  #claimEach(batch: readonly Claim[]): readonly Outcome[] {
    const sql = this.#sql
    const { valuesMax } = this.#opened.options
    const now = this.#now()
    let count = Number(sql.count.get()?.['live']) - Number(sql.sweep.run(now, sweepMax).changes)
    const outcomes = batch.map(({ key, windowMs }): Outcome => {
      count -= Number(sql.expire.run(key, now).changes)
      if (sql.find.get(key) !== undefined) return false
      if (count >= valuesMax) {
        return new Error(`the replay guard holds ${valuesMax} live values and takes no more`)
      }
      sql.add.run(key, now + windowMs)
      count += 1
      return true
    })
    sql.recount.run(count)
    return outcomes
  }
}

function prepare(database: DatabaseSync) {
  return {
    find: database.prepare('SELECT 1 FROM used WHERE key = ?'),
    add: database.prepare('INSERT INTO used (key, expires_at) VALUES (?, ?)'),
    expire: database.prepare('DELETE FROM used WHERE key = ? AND expires_at <= ?'),
    sweep: database.prepare(
      `DELETE FROM used WHERE key IN
         (SELECT key FROM used WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`,
    ),
    count: database.prepare('SELECT live FROM about'),
    recount: database.prepare('UPDATE about SET live = ?'),
  } satisfies Record<string, StatementSync>
}

function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    const { user_version: version } = database.prepare('PRAGMA user_version').get() as {
      readonly user_version: number
    }
    if (version !== 0 && version !== dataFormat)
      throw otherFormat('the file of used values', version)
    database.exec(
      `PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
       BEGIN IMMEDIATE;
       CREATE TABLE IF NOT EXISTS used (key TEXT PRIMARY KEY, expires_at REAL NOT NULL)
         STRICT, WITHOUT ROWID;
       CREATE INDEX IF NOT EXISTS used_expiry ON used (expires_at);
       CREATE TABLE IF NOT EXISTS about (
         id INTEGER PRIMARY KEY CHECK (id = 1), inode TEXT NOT NULL, lost_at REAL,
         live INTEGER NOT NULL
       ) STRICT;
       PRAGMA user_version = ${dataFormat};
       COMMIT`,
    )
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** Returns the time of the last loss, and stores it: a later start does not shorten it. */
function markLoss(database: DatabaseSync, path: string, options: SharedValuesOptions): number {
  const { clock, bootId, isFirst, onLoss } = options
  // Of the file itself: a copy, such as one of a backup, has another one.
  const inode = String(statSync(path, { bigint: true }).ino)
  const row = database.prepare('SELECT inode, lost_at FROM about').get()
  const reason = lossOf({ isNew: row === undefined, isFirst, bootId }, row?.['inode'] === inode)
  const before = typeof row?.['lost_at'] === 'number' ? row['lost_at'] : null
  if (reason !== null) onLoss(reason)
  const lostAt = reason === null ? before : Math.max(before ?? 0, clock.now())
  database
    .prepare(
      `INSERT INTO about (id, inode, lost_at, live) VALUES (1, ?, ?, 0)
       ON CONFLICT (id) DO UPDATE SET inode = excluded.inode, lost_at = excluded.lost_at`,
    )
    .run(inode, lostAt)
  return lostAt ?? Number.NEGATIVE_INFINITY
}

function lossOf(
  at: { readonly isNew: boolean; readonly isFirst: boolean; readonly bootId: string | null },
  isSameFile: boolean,
): string | null {
  if (at.bootId === null) return 'this system does not identify its boots'
  if (at.isNew) return at.isFirst ? null : 'no record of them was found for this boot of the host'
  return isSameFile ? null : 'their file is a copy, as of a backup'
}

/** A transaction that fails is rolled back before the failure is passed on: none stays open. */
function inTransaction<Result>(database: DatabaseSync, work: () => Result): Result {
  // Immediate: the lock is taken before the first read, so nothing changes between check and write.
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}
