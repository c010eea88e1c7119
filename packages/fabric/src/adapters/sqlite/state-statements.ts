import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import type {
  ChangedRow,
  Revision,
  StateChanges,
  StateRow,
  StateTable,
} from '../../state/state-store.ts'

export interface StateCounter {
  readonly revision: Revision
  /** The history holds every commit after this one. */
  readonly floor: Revision
  readonly historyRows: number
}

/** The statements of the state file. Each belongs into a transaction, except `dataVersion`. */
export interface StateStatements {
  rows(): readonly StateRow[]
  find(table: StateTable, key: string): string | null
  /** Makes, replaces or removes the row. */
  put(row: ChangedRow): void
  counter(): StateCounter
  count(counter: StateCounter): void
  append(revision: Revision, ordinal: number, row: ChangedRow): void
  /** Deletes the oldest `rows` rows of the history. Returns the newest revision among them. */
  prune(rows: number): Revision
  /** As in the port. */
  changes(after: Revision, rowsMax: number): StateChanges | null
  /** Another number once another connection has committed. */
  dataVersion(): number
}

type Row = Readonly<Record<string, SQLOutputValue>>
type Revised = ChangedRow & { readonly revision: Revision }

export function stateStatements(database: DatabaseSync): StateStatements {
  const find = database.prepare('SELECT value FROM state WHERE kind = ? AND key = ?')
  const list = database.prepare('SELECT kind, key, value FROM state')
  const put = database.prepare(
    'INSERT INTO state (kind, key, value) VALUES (?, ?, ?) ' +
      'ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value',
  )
  const remove = database.prepare('DELETE FROM state WHERE kind = ? AND key = ?')
  const counter = database.prepare('SELECT revision, floor, history_rows FROM state_counter')
  const count = database.prepare(
    'UPDATE state_counter SET revision = ?, floor = ?, history_rows = ?',
  )
  const append = database.prepare('INSERT INTO state_history VALUES (?, ?, ?, ?, ?)')
  const oldest = database.prepare(
    'SELECT revision, ordinal FROM state_history ORDER BY revision, ordinal LIMIT 1 OFFSET ?',
  )
  const prune = database.prepare('DELETE FROM state_history WHERE (revision, ordinal) <= (?, ?)')
  const after = database.prepare(
    'SELECT revision, kind, key, value FROM state_history WHERE revision > ? ' +
      'ORDER BY revision, ordinal LIMIT ?',
  )
  const dataVersion = database.prepare('PRAGMA data_version')

  const readCounter = (): StateCounter => {
    const row = counter.get()
    if (row === undefined) throw new Error('the state file has lost the row of its counter')
    return {
      revision: Number(row['revision']),
      floor: Number(row['floor']),
      historyRows: Number(row['history_rows']),
    }
  }
  return {
    rows: () => list.all().map((row) => ({ ...changedRow(row), value: String(row['value']) })),
    find: (table, key) => textOf(find.get(table, key)?.['value']),
    put({ table, key, value }) {
      if (value === null) remove.run(table, key)
      else put.run(table, key, value)
    },
    counter: readCounter,
    count({ revision, floor, historyRows }) {
      count.run(revision, floor, historyRows)
    },
    append(revision, ordinal, { table, key, value }) {
      append.run(revision, ordinal, table, key, value)
    },
    prune(rows) {
      const last = oldest.get(rows - 1)
      if (last === undefined) throw new Error('the history of the state file is not as counted')
      prune.run(Number(last['revision']), Number(last['ordinal']))
      return Number(last['revision'])
    },
    changes(reached, rowsMax) {
      const { revision, floor } = readCounter()
      if (reached < floor || reached > revision) return null
      const read = (limit: number) => after.all(reached, limit).map(revisedRow)
      const rows = read(rowsMax + 1)
      const next = rows[rowsMax]?.revision
      if (next === undefined) return changesOf(rows, reached)
      const whole = rows.filter((row) => row.revision < next)
      if (whole.length > 0) return changesOf(whole, reached)
      // The first commit alone has more rows; a limit below zero is none.
      return changesOf(
        read(-1).filter((row) => row.revision === next),
        reached,
      )
    },
    dataVersion: () => Number(dataVersion.get()?.['data_version']),
  }
}

function changesOf(rows: readonly Revised[], after: Revision): StateChanges {
  const commits = new Map<Revision, ChangedRow[]>()
  for (const { revision, ...row } of rows) {
    const changes = commits.get(revision) ?? []
    commits.set(revision, changes)
    changes.push(row)
  }
  return {
    revision: rows.at(-1)?.revision ?? after,
    commits: [...commits].map(([revision, changes]) => ({ revision, changes })),
  }
}

/** A table of a later version is passed on: its reader refuses to decide by what it cannot read. */
function changedRow(row: Row): ChangedRow {
  const table = String(row['kind']) as StateTable
  return { table, key: String(row['key']), value: textOf(row['value']) }
}

function revisedRow(row: Row): Revised {
  return { ...changedRow(row), revision: Number(row['revision']) }
}

const textOf = (value: SQLOutputValue | undefined): string | null =>
  value === null || value === undefined ? null : String(value)
