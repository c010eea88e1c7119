import { ListenerSet } from '@countersign/protocol'
import {
  assertStateChanges,
  type Revision,
  type StateChange,
  type StateChanges,
  type StateCommit,
  type StateRow,
  type StateStore,
  stateHistoryRows,
} from '../../state/state-store.ts'

/** The rows that several stores can share, as several processes share a database. */
export class StateMemory {
  /** As `StateStore.history`; replaced by tests. */
  lineOfCommits = ''
  readonly #rows = new Map<string, StateRow>()
  readonly #wakes = new ListenerSet()
  readonly #historyRows: number
  #history: StateCommit[] = []
  #revision: Revision = 0
  /** The history holds every commit after this revision. */
  #floor: Revision = 0

  constructor(historyRows: number = stateHistoryRows) {
    this.#historyRows = historyRows
  }

  read(): { revision: Revision; rows: readonly StateRow[] } {
    return { revision: this.#revision, rows: [...this.#rows.values()] }
  }

  commit(changes: readonly StateChange[]): Revision | null {
    assertStateChanges(changes)
    const holds = changes.every(
      ({ table, key, expected }) =>
        expected === undefined || (this.#rows.get(idOf(table, key))?.value ?? null) === expected,
    )
    if (!holds) return null
    if (changes.length === 0) return this.#revision
    for (const { table, key, value } of changes) {
      if (value === null) this.#rows.delete(idOf(table, key))
      else this.#rows.set(idOf(table, key), { table, key, value })
    }
    this.#revision += 1
    const rows = changes.map(({ table, key, value }) => ({ table, key, value }))
    this.#history.push({ revision: this.#revision, changes: rows })
    this.#prune()
    // Later, as from another process: a listener must not run within the commit.
    queueMicrotask(() => this.#wakes.notify())
    return this.#revision
  }

  changes(after: Revision, rowsMax: number): StateChanges | null {
    if (after < this.#floor || after > this.#revision) return null
    const later = this.#history.filter(({ revision }) => revision > after)
    let rows = 0
    const cut = later.findIndex(({ changes }) => {
      rows += changes.length
      return rows > rowsMax
    })
    const commits = cut === -1 ? later : later.slice(0, Math.max(1, cut))
    return { revision: commits.at(-1)?.revision ?? after, commits }
  }

  onWake(listener: () => void): () => void {
    return this.#wakes.add(listener)
  }

  #prune(): void {
    let kept = 0
    const keeps = this.#history.findLastIndex(({ changes }) => {
      kept += changes.length
      return kept > this.#historyRows
    })
    this.#floor = this.#history[keeps]?.revision ?? this.#floor
    this.#history = this.#history.slice(keeps + 1)
  }
}

/** For tests and for fabrics that may forget everything: nothing survives the process. */
export function memoryStateStore(memory: StateMemory = new StateMemory()): StateStore {
  const stops = new Set<() => void>()
  return {
    read: async () => memory.read(),
    commit: async (changes) => memory.commit(changes),
    changes: async (after, rowsMax) => memory.changes(after, rowsMax),
    onWake(listener) {
      const stop = memory.onWake(listener)
      stops.add(stop)
      return stop
    },
    history: () => memory.lineOfCommits,
    async close() {
      for (const stop of stops) stop()
    },
  }
}

const idOf = (table: string, key: string): string => `${table}/${key}`
