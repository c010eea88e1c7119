import type { StateRow, StateStore, StateTable } from '../../identity/state-store.ts'

/** For tests and for fabrics that may forget everything: nothing survives the process. */
export function memoryStateStore(): StateStore {
  const tables = new Map<StateTable, Map<string, string>>()
  const rowsOf = (table: StateTable): Map<string, string> => {
    const rows = tables.get(table) ?? new Map<string, string>()
    tables.set(table, rows)
    return rows
  }
  return {
    load: async (table) => {
      const rows: StateRow[] = [...rowsOf(table)].map(([key, value]) => ({ key, value }))
      return rows.toSorted((a, b) => (a.key < b.key ? -1 : 1))
    },
    commit: async (changes) => {
      const holds = changes.every(
        ({ table, key, expected }) =>
          expected === undefined || (rowsOf(table).get(key) ?? null) === expected,
      )
      if (!holds) return false
      for (const { table, key, value } of changes) {
        if (value === null) rowsOf(table).delete(key)
        else rowsOf(table).set(key, value)
      }
      return true
    },
    close: async () => undefined,
  }
}
