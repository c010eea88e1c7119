import { assertLease, type LeaseStore, leasesMax, tooManyLeases } from '../../state/lease-store.ts'
import type { PostgresDatabase } from './database.ts'

/** The data folder that has the log of a slot, and where it is. */
export interface LeasePlace {
  /** Of the folder, from its first start on. Without a blank. */
  readonly folder: string
  /**
   * The same for two processes exactly if a lock of the operating system on a file of the folder
   * excludes one another: not for a copy of the folder.
   */
  readonly place: string
}

/** The column `folder` has both; in a row of an earlier version, the first alone. */
const textOf = ({ folder, place }: LeasePlace): string => `${folder} ${place}`
const folderOf = (column: string): string => `split_part(${column}, ' ', 1)`

/** Returns whether the data folder of another fabric has the log of this slot. */
export async function isLeaseOfOther(
  { sessions, schema }: PostgresDatabase,
  name: string,
  { folder }: LeasePlace,
): Promise<boolean> {
  const sql = `SELECT 1 FROM ${schema}.lease WHERE name = $1 AND ${folderOf('folder')} <> $2`
  const { rows } = await sessions.use((session) => session.query(sql, [name, folder]))
  return rows.length > 0
}

/**
 * Leases in a schema, by the clock of the server. A name belongs to the data folder that took it
 * first, for good: the log of a slot is there, and another folder that took the slot would continue
 * it from nothing, under the same key. A copy of the folder waits until the lease has ended: that
 * the former holder has ended is proved at its own place alone.
 *
 * Closing it leaves the database open, which others may use.
 */
export function openPostgresLeaseStore(database: PostgresDatabase, place: LeasePlace): LeaseStore {
  const { sessions, schema: s } = database
  const query = (text: string, values: readonly unknown[]) =>
    sessions.use((session) => session.query(text, values))
  const ends = "clock_timestamp() + $4 * interval '1 millisecond'"
  return {
    async take(request) {
      assertLease(request)
      const { name, leaseMs, note, isFormerEnded } = request
      const counted = `SELECT count(*) AS all, count(*) FILTER (WHERE name = $1) AS known`
      const { rows: counts } = await query(`${counted} FROM ${s}.lease`, [name])
      const { all, known } = counts[0] ?? {}
      if (Number(known) === 0 && Number(all) >= leasesMax) throw tooManyLeases()
      const { rows } = await query(
        `INSERT INTO ${s}.lease VALUES ($1, $2, 1, $3, ${ends})
         ON CONFLICT (name) DO UPDATE
           SET token = lease.token + 1, note = excluded.note, ends = excluded.ends,
             folder = excluded.folder
           WHERE ${folderOf('lease.folder')} = ${folderOf('excluded.folder')}
             AND (lease.ends IS NULL OR lease.ends <= clock_timestamp()
               OR ($5 AND lease.folder = excluded.folder))
         RETURNING token`,
        [name, textOf(place), note, leaseMs, isFormerEnded],
      )
      const token = rows[0]?.['token']
      return token === undefined ? null : Number(token)
    },
    async renew(renewal) {
      assertLease(renewal)
      const { name, token, note, leaseMs } = renewal
      const { rowCount } = await query(
        `UPDATE ${s}.lease SET note = $3, ends = ${ends}
         WHERE name = $1 AND token = $2 AND ends IS NOT NULL`,
        [name, token, note, leaseMs],
      )
      return rowCount === 1
    },
    async release({ name, token }) {
      const sql = `UPDATE ${s}.lease SET ends = NULL WHERE name = $1 AND token = $2`
      await query(sql, [name, token])
    },
    async list() {
      const isHeld = 'coalesce(ends > clock_timestamp(), false) AS held'
      const sql = `SELECT name, token, note, ${isHeld} FROM ${s}.lease ORDER BY name`
      return (await query(sql, [])).rows.map((row) => ({
        name: String(row['name']),
        token: Number(row['token']),
        note: String(row['note']),
        isHeld: row['held'] === true,
      }))
    },
    close: async () => undefined,
  }
}
