import { createHash } from 'node:crypto'
import { dataFormat, otherFormat } from '../data-format.ts'
import { recordTables } from './record-schema.ts'
import type { Session } from './session.ts'

/** A name of a schema that needs no quotes, and leaves room for the names made of it. */
const schemaPattern = /^[a-z_][a-z0-9_]{0,40}$/

export function assertSchemaName(schema: string): void {
  if (schemaPattern.test(schema)) return
  throw new TypeError(`${JSON.stringify(schema)} cannot be the name of a schema`)
}

/** The name under which commits notify. */
export function wakeChannel(schema: string): string {
  return `${schema}_state`
}

/**
 * `state_counter` has one row, which each commit changes first: it holds that row's lock until its
 * revision is visible, so that revisions are in commit order. A sequence would hand out its values
 * before the commit. `floor` is the newest revision of which changes were deleted.
 *
 * `state_commit` keeps the changes of a commit in one row, so that no commit is read in part. By
 * `mark`, commits of the same revision differ, of which one was lost by a failover. The commit at
 * the floor stays without its changes, for its mark.
 *
 * `lease.folder` is that of the first holder, for good; `ends` is null once it was released.
 */
const tables = (s: string): string => `
  CREATE TABLE ${s}.format (one boolean PRIMARY KEY CHECK (one), version integer NOT NULL);
  CREATE TABLE ${s}.state (
    kind text COLLATE "C", key text COLLATE "C", value text NOT NULL, PRIMARY KEY (kind, key)
  );
  CREATE TABLE ${s}.state_counter (
    one boolean PRIMARY KEY CHECK (one),
    revision bigint NOT NULL, floor bigint NOT NULL, rows_total bigint NOT NULL
  ) WITH (fillfactor = 10);
  CREATE TABLE ${s}.state_commit (
    revision bigint PRIMARY KEY, mark uuid NOT NULL,
    rows_before bigint NOT NULL, rows_total bigint NOT NULL, changes text
  );
  CREATE TABLE ${s}.secret (name text COLLATE "C" PRIMARY KEY, envelope bytea NOT NULL);
  ${recordTables(s)}
  CREATE TABLE ${s}.lease (
    name text COLLATE "C" PRIMARY KEY, folder text NOT NULL, token bigint NOT NULL,
    note text NOT NULL, ends timestamptz
  );
  INSERT INTO ${s}.format VALUES (true, ${dataFormat});
  INSERT INTO ${s}.state_counter VALUES (true, 0, 0, 0);
  INSERT INTO ${s}.state_commit VALUES (0, gen_random_uuid(), 0, 0, NULL);
`

/**
 * Makes the schema and its tables where there are none. Of several processes that start at once,
 * one makes them and the others wait for it. Rejects for tables of another format.
 */
export async function prepareSchema(session: Session, schema: string): Promise<void> {
  assertSchemaName(schema)
  await session.query('BEGIN')
  await lockSchema(session, schema)
  const found = await formatOf(session, schema)
  if (found === null) {
    await session.query(`CREATE SCHEMA IF NOT EXISTS ${schema}`)
    await session.query(tables(schema))
  } else if (found !== dataFormat) {
    throw otherFormat(`the schema ${schema} in PostgreSQL`, found)
  }
  await assertOwned(session, schema)
  await session.query('COMMIT')
}

/**
 * Another role of the database that made the tables first, or took them over, could change what
 * the fabric decides by. The owner of the schema may be another one, as an administrator is.
 */
async function assertOwned(session: Session, schema: string): Promise<void> {
  const { rows } = await session.query(
    `SELECT relname AS name, pg_get_userbyid(relowner) AS owner FROM pg_class
       WHERE relnamespace = to_regnamespace($1) AND NOT pg_has_role(relowner, 'USAGE')
     UNION ALL SELECT proname, pg_get_userbyid(proowner) FROM pg_proc
       WHERE pronamespace = to_regnamespace($1) AND NOT pg_has_role(proowner, 'USAGE')
     LIMIT 1`,
    [schema],
  )
  const [found] = rows
  if (found === undefined) return
  const [name, owner] = [String(found['name']), String(found['owner'])]
  throw new Error(
    `${schema}.${name} in PostgreSQL belongs to the role ${owner}; make it the fabric's`,
  )
}

/** Until the transaction ends, however it does: no other process prepares what is in the schema. */
export async function lockSchema(session: Session, schema: string): Promise<void> {
  await session.query('SELECT pg_advisory_xact_lock($1::bigint)', [lockOf(schema)])
}

/** Returns whether the tables are there. */
export async function isPrepared(session: Session, schema: string): Promise<boolean> {
  const sql = 'SELECT to_regclass($1) IS NOT NULL AS exists'
  return (await session.query(sql, [`${schema}.format`])).rows[0]?.['exists'] === true
}

async function formatOf(session: Session, schema: string): Promise<number | null> {
  if (!(await isPrepared(session, schema))) return null
  const format = await session.query(`SELECT version FROM ${schema}.format`)
  return Number(format.rows[0]?.['version'])
}

/** 63 bits, so that it is positive; the locks of another application are elsewhere. */
function lockOf(schema: string): string {
  const digest = createHash('sha256').update(`countersign schema ${schema}`).digest()
  return String(digest.readBigUInt64BE() >> 1n)
}
