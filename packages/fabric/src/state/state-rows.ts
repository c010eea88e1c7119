import type { ChangedRow, StateRow, StateTable } from './state-store.ts'

/** All rows as texts: what projections begin with, and what a snapshot is compared with. */
export class StateRows {
  readonly #tables = new Map<StateTable, Map<string, string>>()

  of(table: StateTable): ReadonlyMap<string, string> {
    return this.#of(table)
  }

  apply({ table, key, value }: ChangedRow): void {
    if (value === null) this.#of(table).delete(key)
    else this.#of(table).set(key, value)
  }

  /** The changes that lead from these rows to `rows`, removals first. */
  differenceTo(rows: readonly StateRow[]): readonly ChangedRow[] {
    const next = new StateRows()
    for (const row of rows) next.apply(row)
    const removed = [...this.#tables].flatMap(([table, present]) =>
      [...present.keys()]
        .filter((key) => !next.of(table).has(key))
        .map((key): ChangedRow => ({ table, key, value: null })),
    )
    const changed = rows.filter(({ table, key, value }) => this.of(table).get(key) !== value)
    return [...removed, ...changed]
  }

  #of(table: StateTable): Map<string, string> {
    const rows = this.#tables.get(table) ?? new Map<string, string>()
    this.#tables.set(table, rows)
    return rows
  }
}
