import type { StateStore, StateTable } from '../../packages/fabric/src/state/state-store.ts'

/** The rows of one table, by key. */
export async function rowsOf(store: StateStore, table: StateTable) {
  const { rows } = await store.read()
  return rows
    .filter((row) => row.table === table)
    .map(({ key, value }) => ({ key, value }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
}
