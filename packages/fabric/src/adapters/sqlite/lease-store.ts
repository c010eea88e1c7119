import { DatabaseSync } from 'node:sqlite'
import { Serializer } from '../../concurrency/serializer.ts'
import { hostMonotonic } from '../../lib/clock.ts'
import {
  assertLease,
  type LeaseRenewal,
  type LeaseRequest,
  type LeaseStore,
  leasesMax,
  tooManyLeases,
} from '../../state/lease-store.ts'
import { dataFormat, otherFormat } from '../data-format.ts'
import { whenNotBusy } from './when-not-busy.ts'

export interface SqliteLeaseOptions {
  /** Milliseconds of a clock that all processes of this host share; by default since its boot. */
  readonly now?: () => number
}

/**
 * Leases in one SQLite file of their own, for the processes of one host: the end of a lease is on
 * the monotonic clock of the host, which no operator and no time server sets.
 */
export async function openSqliteLeaseStore(
  path: string,
  { now = hostMonotonic }: SqliteLeaseOptions = {},
): Promise<LeaseStore> {
  const database = await whenNotBusy(path, () => openDatabase(path))
  const turns = new Serializer()
  const sql = prepare(database)
  const run = <Result>(work: () => Result): Promise<Result> =>
    turns.run(() => whenNotBusy(path, () => inTransaction(database, work)))
  // A renewal that a loss of power takes back is of no use then; the event loop waits for no sync.
  // A token that was taken back would be given to another holder again.
  const runSynced = <Result>(work: () => Result): Promise<Result> =>
    turns.run(async () => {
      database.exec('PRAGMA synchronous = FULL')
      try {
        return await whenNotBusy(path, () => inTransaction(database, work))
      } finally {
        if (database.isOpen) database.exec('PRAGMA synchronous = NORMAL')
      }
    })
  return {
    async take(request) {
      assertLease(request)
      return runSynced(() => take(sql, request, now()))
    },
    async renew(renewal) {
      assertLease(renewal)
      return run(() => renew(sql, renewal, now()))
    },
    release: ({ name, token }) => run(() => void sql.release.run(name, token)),
    list: () =>
      run(() => {
        const at = now()
        return sql.list.all().map((row) => {
          const { name, token, note } = row as unknown as Row & { readonly name: string }
          return { name, token, note, isHeld: isHeld(row as unknown as Row, at) }
        })
      }),
    async close() {
      if (database.isOpen) database.close()
    },
  }
}

interface Row {
  readonly token: number
  readonly note: string
  readonly renewedAt: number
  /** Null once it was released. */
  readonly until: number | null
}

type Statements = ReturnType<typeof prepare>

function prepare(database: DatabaseSync) {
  const columns = 'token, note, renewed_at AS renewedAt, until'
  return {
    find: database.prepare(`SELECT ${columns} FROM leases WHERE name = ?`),
    count: database.prepare('SELECT count(*) AS count FROM leases'),
    put: database.prepare(
      `INSERT INTO leases (name, token, note, renewed_at, until) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET token = excluded.token, note = excluded.note,
         renewed_at = excluded.renewed_at, until = excluded.until`,
    ),
    renew: database.prepare(
      `UPDATE leases SET note = ?, renewed_at = ?, until = ?
       WHERE name = ? AND token = ? AND until IS NOT NULL`,
    ),
    release: database.prepare('UPDATE leases SET until = NULL WHERE name = ? AND token = ?'),
    list: database.prepare(`SELECT name, ${columns} FROM leases ORDER BY name`),
  }
}

/** The clock begins anew with each boot, and no process outlives one. */
function isHeld({ renewedAt, until }: Row, now: number): boolean {
  return until !== null && now >= renewedAt && now < until
}

function take(sql: Statements, request: LeaseRequest, now: number): number | null {
  const { name, leaseMs, note, isFormerEnded } = request
  const former = sql.find.get(name) as Row | undefined
  if (former === undefined) {
    const { count } = sql.count.get() as { readonly count: number }
    if (count >= leasesMax) throw tooManyLeases()
  } else if (isHeld(former, now) && !isFormerEnded) return null
  const token = (former?.token ?? 0) + 1
  sql.put.run(name, token, note, now, now + leaseMs)
  return token
}

function renew(sql: Statements, renewal: LeaseRenewal, now: number): boolean {
  const { name, token, note, leaseMs } = renewal
  return Number(sql.renew.run(note, now, now + leaseMs, name, token).changes) === 1
}

function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    const { user_version: version } = database.prepare('PRAGMA user_version').get() as {
      readonly user_version: number
    }
    if (version !== 0 && version !== dataFormat) throw otherFormat('the file of leases', version)
    database.exec(
      `PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
       BEGIN IMMEDIATE;
       CREATE TABLE IF NOT EXISTS leases (
         name TEXT PRIMARY KEY, token INTEGER NOT NULL, note TEXT NOT NULL,
         renewed_at INTEGER NOT NULL, until INTEGER
       ) STRICT, WITHOUT ROWID;
       PRAGMA user_version = ${dataFormat};
       COMMIT`,
    )
    return database
  } catch (error) {
    database.close()
    throw error
  }
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
