import type { Random } from '../../lib/random.ts'
import {
  assertStateChanges,
  type ChangedRow,
  type Revision,
  type StateChange,
  type StateChanges,
  type StateCommit,
  type StateStore,
  type StateTable,
  stateHistoryRows,
} from '../../state/state-store.ts'
import type { Row } from './client.ts'
import type { PostgresDatabase } from './database.ts'
import { wakeChannel } from './schema.ts'
import type { Session } from './session.ts'
import { stateStatements } from './state-statements.ts'
import { WakeListener } from './wake-listener.ts'

export interface PostgresStateOptions {
  readonly random: Random
  readonly historyRows?: number
}

/** Marks of commits that this store returned, for readers that come back for what follows. */
const marksMax = 1_024

/**
 * A commit that the server did not confirm: it may be durable or not. The caller reads the stream,
 * where its changes are or are not.
 */
export class CommitUnknown extends Error {
  override readonly name = 'CommitUnknown'
}

/** The state in a schema. Closing it leaves the database open, which others may use. */
export function openPostgresStateStore(
  database: PostgresDatabase,
  { random, historyRows = stateHistoryRows }: PostgresStateOptions,
): StateStore {
  const { sessions, schema, times } = database
  const store = new PostgresState({ sessions, schema, historyRows, times })
  const { history } = database
  const open = () => database.open()
  const wakes = new WakeListener({ open, channel: wakeChannel(schema), random })
  return {
    read: () => store.read(),
    commit: (changes) => store.commit(changes),
    changes: (after, rowsMax) => store.changes(after, rowsMax),
    onWake: (listener) => wakes.add(listener),
    history,
    close: async () => wakes.close(),
  }
}

interface Settings extends Pick<PostgresDatabase, 'sessions' | 'schema' | 'times'> {
  readonly historyRows: number
}

class PostgresState {
  readonly #settings: Settings
  readonly #sql: ReturnType<typeof stateStatements>
  /** In the order in which they were returned. */
  readonly #marks = new Map<Revision, string>()
  /** Of the server that was read last. */
  #readFrom: string | null = null

  constructor(settings: Settings) {
    this.#settings = settings
    this.#sql = stateStatements(settings.schema)
  }

  read() {
    const { sessions, times } = this.#settings
    return sessions.use(async (session) => {
      // The limit of the session is that of a small statement.
      await session.query(`BEGIN READ ONLY; SET LOCAL statement_timeout = ${times.snapshotMs}`)
      const { rows } = await session.query(this.#sql.snapshot, [], times.snapshotMs)
      await session.query('COMMIT')
      const revision = Number(rows[0]?.['revision'] ?? Number.NaN)
      if (!Number.isSafeInteger(revision)) throw new Error('the counter of the state is missing')
      this.#remember(revision, rows[0])
      this.#readFrom = session.history
      return { revision, rows: rows.filter((row) => row['key'] !== null).map(stateRow) }
    })
  }

  async commit(changes: readonly StateChange[]): Promise<Revision | null> {
    assertStateChanges(changes)
    return this.#settings.sessions.use(async (session) => {
      if (changes.length === 0) return this.#present(session)
      // These changes were computed from rows that may be lost there. They are computed anew, as if
      // another process had been faster.
      if (this.#readFrom !== null && session.history !== this.#readFrom) return null
      await session.query('BEGIN ISOLATION LEVEL READ COMMITTED')
      const { rows } = await session.query(this.#sql.begin, [changes.length])
      const revision = Number(rows[0]?.['revision'])
      const rowsTotal = Number(rows[0]?.['rows_total'])
      if (!(await this.#holds(session, changes))) {
        await session.query('ROLLBACK')
        return null
      }
      const mark = await this.#write(session, changes, { revision, rowsTotal })
      await end(session)
      this.#remember(revision, mark)
      return revision
    })
  }

  changes(after: Revision, rowsMax: number): Promise<StateChanges | null> {
    const {
      sessions,
      times: { readMs },
    } = this.#settings
    return sessions.use(async (session) => {
      const { rows } = await session.query(this.#sql.changes, [after, rowsMax], readMs)
      const [first, ...following] = rows
      if (first === undefined) throw new Error('the counter of the state is missing')
      if (after > Number(first['present']) || after < Number(first['floor'])) return null
      if (Number(first['revision']) !== after) return null
      // Another commit of that revision: the one that was returned was lost, and more with it.
      if ((this.#marks.get(after) ?? first['mark']) !== first['mark']) return null
      const commits = following.map(commitOf)
      const last = following.at(-1)
      const revision = commits.at(-1)?.revision ?? after
      this.#remember(revision, last ?? first)
      this.#readFrom = session.history
      return { revision, commits }
    })
  }

  async #present(session: Session): Promise<Revision> {
    const { rows } = await session.query(this.#sql.present)
    return Number(rows[0]?.['revision'])
  }

  async #holds(session: Session, changes: readonly StateChange[]): Promise<boolean> {
    const asked = changes.filter(({ expected }) => expected !== undefined)
    if (asked.length === 0) return true
    const { rows } = await session.query(this.#sql.find, columnsOf(asked, ['table', 'key']))
    const present = new Map(rows.map((row) => [idOf(stateRow(row)), row['value']]))
    return asked.every((change) => (present.get(idOf(change)) ?? null) === change.expected)
  }

  async #write(
    session: Session,
    changes: readonly ChangedRow[],
    { revision, rowsTotal }: { readonly revision: Revision; readonly rowsTotal: number },
  ): Promise<Row | undefined> {
    const { schema, historyRows } = this.#settings
    // The last change of a row wins; no statement may write one row twice.
    const last = [...new Map(changes.map((change) => [idOf(change), change])).values()]
    const removed = last.filter(({ value }) => value === null)
    const written = last.filter(({ value }) => value !== null)
    if (removed.length > 0) {
      await session.query(this.#sql.remove, columnsOf(removed, ['table', 'key']))
    }
    if (written.length > 0) {
      await session.query(this.#sql.put, columnsOf(written, ['table', 'key', 'value']))
    }
    const rowsBefore = rowsTotal - changes.length
    const text = JSON.stringify(changes.map(({ table, key, value }) => [table, key, value]))
    const logged = await session.query(this.#sql.log, [revision, rowsBefore, rowsTotal, text])
    const due = rowsTotal - historyRows
    if (due > 0) await session.query(this.#sql.prune, [due, revision])
    // Delivered with the commit, and not at all without it.
    await session.query(this.#sql.notify, [wakeChannel(schema), String(revision)])
    return logged.rows[0]
  }

  #remember(revision: Revision, row: Row | undefined): void {
    this.#marks.delete(revision)
    this.#marks.set(revision, String(row?.['mark']))
    for (const [oldest] of this.#marks) {
      if (this.#marks.size <= marksMax) return
      this.#marks.delete(oldest)
    }
  }
}

/** From here on, only the answer COMMIT, without a warning, is success. */
async function end(session: Session): Promise<void> {
  session.takeWarnings()
  const { command } = await session.query('COMMIT').catch((cause: unknown) => {
    throw new CommitUnknown('PostgreSQL did not confirm a commit; its effect is unknown', { cause })
  })
  if (command !== 'COMMIT') throw new Error(`PostgreSQL answered a commit with ${command}`)
  // As when the wait for a synchronous standby was cancelled: durable on one server, so far.
  const [warning] = session.takeWarnings()
  if (warning !== undefined) throw new CommitUnknown(`PostgreSQL warned of a commit: ${warning}`)
}

const idOf = ({ table, key }: Pick<ChangedRow, 'table' | 'key'>): string => `${table}\0${key}`

function columnsOf(
  changes: readonly ChangedRow[],
  names: readonly ('table' | 'key' | 'value')[],
): readonly (readonly (string | null)[])[] {
  return names.map((name) => changes.map((change) => change[name]))
}

/** A table of a later version is passed on: its reader refuses to decide by what it cannot read. */
function stateRow(row: Row) {
  const table = String(row['kind']) as StateTable
  return { table, key: String(row['key']), value: String(row['value']) }
}

function commitOf(row: Row): StateCommit {
  const changes = JSON.parse(String(row['changes'])) as readonly [
    StateTable,
    string,
    string | null,
  ][]
  return {
    revision: Number(row['revision']),
    changes: changes.map(([table, key, value]) => ({ table, key, value })),
  }
}
