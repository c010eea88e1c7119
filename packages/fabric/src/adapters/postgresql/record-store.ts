import {
  type AddedRecord,
  assertRecord,
  type BoundsOfRecords,
  findEachMax,
  RECORD_BOUNDS,
  RECORD_COLLECTIONS,
  type RecordStore,
  type StoredRecord,
  sweepMax,
} from '../../state/record-store.ts'
import type { Row } from './client.ts'
import type { PostgresDatabase } from './database.ts'
import { RecordWriter } from './record-writer.ts'

/** The share of one collection in a sweep. */
const sweepEachMax = Math.ceil(sweepMax / RECORD_COLLECTIONS.length)

/**
 * Records in a schema, which expire by the clock of the server. A write survives a loss of power.
 * Closing it leaves the database open, which others may use.
 */
export function openPostgresRecordStore(
  database: PostgresDatabase,
  bounds: BoundsOfRecords = RECORD_BOUNDS,
): RecordStore {
  const { recordSessions: sessions, schema: s } = database
  const query = (text: string, values: readonly unknown[]) =>
    sessions.use(async (session) => (await session.query(text, values)).rows)
  const writer = new RecordWriter(database)
  const columns = `r.key, r.value, r.sequence, o.name AS owner,
    extract(epoch FROM r.expires_at - clock_timestamp()) * 1000 AS left_ms`
  const from = `FROM ${s}.record r JOIN ${s}.record_owner o ON o.id = r.owner
    WHERE r.collection = $1 AND r.expires_at > clock_timestamp()`
  const hashes = `SELECT sha256(convert_to(asked, 'UTF8')) FROM unnest($2::text[]) asked`
  const findEach: RecordStore['findEach'] = async (collection, keys) => {
    if (keys.length > findEachMax) throw new RangeError(`more than ${findEachMax} keys`)
    const sql = `SELECT ${columns} ${from} AND r.hash IN (${hashes})`
    const rows = await query(sql, [collection, keys])
    return new Map(rows.map((row) => [String(row['key']), recordOf(row)]))
  }
  return {
    find: async (collection, key) => (await findEach(collection, [key])).get(key) ?? null,
    findEach,
    async put(collection, key, value, { owner, lifetimeMs, expected }) {
      assertRecord(key, value, owner)
      return writer.ask({
        ...{ kind: 'put', collection, key, value, owner, lifetimeMs: Math.ceil(lifetimeMs) },
        ...(expected === undefined ? {} : { expected }),
        ...bounds[collection],
      })
    },
    async remove(collection, key, expected) {
      const of = expected === undefined ? {} : { expected }
      return writer.ask({ kind: 'remove', collection, key, ...of })
    },
    async added(collection, after, max) {
      const sql = `SELECT ${columns} ${from} AND r.sequence > $2 ORDER BY r.sequence LIMIT $3`
      return (await query(sql, [collection, after, max])).map(addedOf)
    },
    async sweep() {
      let dropped = 0
      for (const collection of RECORD_COLLECTIONS) {
        const sql = `SELECT ${s}.record_sweep($1, $2) AS dropped`
        const [row] = await query(sql, [collection, sweepEachMax])
        dropped += Number(row?.['dropped'])
      }
      return dropped
    },
    async close() {
      writer.close()
    },
  }
}

function recordOf(row: Row): StoredRecord {
  const [value, owner] = [String(row['value']), String(row['owner'])]
  // The clock of the server goes on between its comparison and this value.
  return { value, owner, leftMs: Math.max(Number(row['left_ms']), 1) }
}

function addedOf(row: Row): AddedRecord {
  return { ...recordOf(row), key: String(row['key']), sequence: Number(row['sequence']) }
}
