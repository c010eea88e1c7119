const tables = [
  'agents',
  'join-tokens',
  'api-keys',
  'channels',
  'routes',
  'policies',
  'settings',
  'guards',
  'erasures',
] as const

/** The tables of authority. Each table maps a key to a text, by convention JSON. */
export type StateTable = (typeof tables)[number]

/** Reports whether this version knows the table; a store may have been used by a later one. */
export function isStateTable(name: string): name is StateTable {
  return (tables as readonly string[]).includes(name)
}

/**
 * Counts commits: 0 before the first one. A safe integer. Revisions are in commit order: once a
 * reader has seen one, no commit with a lower revision becomes visible later.
 */
export type Revision = number

/** A row as a commit left it: null where the commit removed it. */
export interface ChangedRow {
  readonly table: StateTable
  readonly key: string
  readonly value: string | null
}

export interface StateRow extends ChangedRow {
  readonly value: string
}

export interface StateChange extends ChangedRow {
  /**
   * If given, the whole commit fails unless the row holds exactly this text now; null requires that
   * the row does not exist. This is how one of two racing writers loses. All expectations of a
   * commit apply to the rows before it.
   */
  readonly expected?: string | null
}

/** All rows at one revision, in no particular order. */
export interface StateSnapshot {
  readonly revision: Revision
  readonly rows: readonly StateRow[]
}

/** The changes of one commit, in the order in which it stated them. */
export interface StateCommit {
  readonly revision: Revision
  readonly changes: readonly ChangedRow[]
}

/** Whole commits in commit order, each revision once. */
export interface StateChanges {
  /** The revision that a reader has reached with these commits. */
  readonly revision: Revision
  readonly commits: readonly StateCommit[]
}

/**
 * The store of authority: few rows, which each process reads whole at its start and then follows.
 * Several processes, or several openings in one process, may use one store.
 *
 * Keys and values are well-formed text without U+0000, see `assertStateChanges`. Each call settles
 * in bounded time, also while the engine does not answer.
 */
export interface StateStore {
  /** Every row, all at one revision. */
  read(): Promise<StateSnapshot>
  /**
   * Applies all changes or none, and raises the revision by one. Resolves to the new revision once
   * the changes would survive a crash, and to null, with nothing written, when an expectation
   * failed. Rejects only if the outcome is unknown: the caller must then read the store, and may
   * not repeat the commit unseen.
   *
   * A commit without changes writes nothing and resolves to the present revision.
   */
  commit(changes: readonly StateChange[]): Promise<Revision | null>
  /**
   * Returns the commits after the revision `after`, at least one if there is one, and as many whole
   * ones as `rowsMax` rows hold; a reader that has not reached the present revision asks again.
   * Null when the history does not reach back to `after`, or when `after` is ahead of the store, as
   * after a restored backup: the reader then needs all rows.
   */
  changes(after: Revision, rowsMax: number): Promise<StateChanges | null>
  /**
   * Calls `listener` when another opening of the store may have committed. It is a hint only: it
   * may come late, for nothing, or not at all. Returns the function that stops it.
   */
  onWake(listener: () => void): () => void
  /**
   * Identifies the line of commits that the store has now. It differs after an event that may have
   * lost confirmed commits, such as a failover: what is good for one use in the line before is not
   * good in the next one. Empty where the storage itself would have to lose them.
   */
  history(): string
  close(): Promise<void>
}

/** The number of changed rows that a store keeps for readers that follow it. */
export const stateHistoryRows = 10_000

/**
 * Throws for a text that engines store differently, before anything is written: PostgreSQL refuses
 * U+0000, and a lone surrogate does not survive an encoding as UTF-8.
 */
export function assertStateChanges(changes: readonly StateChange[]): void {
  for (const { key, value, expected } of changes) {
    for (const text of [key, value ?? '', expected ?? '']) {
      if (text.includes('\0') || !text.isWellFormed()) {
        throw new TypeError('a key or value of the state is not well-formed text without U+0000')
      }
    }
  }
}
