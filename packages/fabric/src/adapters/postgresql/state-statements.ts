/**
 * The statements of the state. Each is one statement with one view of the rows: PostgreSQL gives
 * every statement of a transaction at `READ COMMITTED` a view of its own.
 */
export function stateStatements(s: string) {
  return {
    /** Takes the lock that each commit holds until its end. Then the rows are as they stay. */
    begin: `UPDATE ${s}.state_counter SET revision = revision + 1, rows_total = rows_total + $1
            RETURNING revision, rows_total`,
    present: `SELECT revision FROM ${s}.state_counter`,
    find: `SELECT kind, key, value FROM ${s}.state
           WHERE (kind, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
    remove: `DELETE FROM ${s}.state
             WHERE (kind, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
    put: `INSERT INTO ${s}.state SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
          ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value`,
    /** Keeps the changes, and returns the mark of the commit. */
    log: `INSERT INTO ${s}.state_commit VALUES ($1, gen_random_uuid(), $2, $3, $4) RETURNING mark`,
    /** Commits that are not whole within the newest rows of the history. */
    prune: `WITH due AS (
              SELECT max(revision) AS floor FROM ${s}.state_commit
              WHERE rows_before < $1 AND revision <= $2
            ), counted AS (
              UPDATE ${s}.state_counter SET floor = due.floor FROM due WHERE due.floor > state_counter.floor
            ), emptied AS (
              UPDATE ${s}.state_commit SET changes = NULL FROM due WHERE revision = due.floor
            )
            DELETE FROM ${s}.state_commit USING due WHERE revision < due.floor`,
    notify: 'SELECT pg_notify($1, $2)',
    snapshot: `SELECT c.revision, m.mark, s.kind, s.key, s.value
               FROM ${s}.state_counter c JOIN ${s}.state_commit m USING (revision)
               LEFT JOIN ${s}.state s ON true`,
    /** The commit at `after` for its mark, and those that follow it. */
    changes: `SELECT c.revision AS present, c.floor, m.revision, m.mark, m.changes
              FROM ${s}.state_counter c
              LEFT JOIN ${s}.state_commit a ON a.revision = $1
              LEFT JOIN ${s}.state_commit m ON m.revision BETWEEN $1 AND $1 + 1
                OR (m.revision > $1 AND m.rows_total <= a.rows_total + $2)
              ORDER BY m.revision`,
  } as const
}
