/** The tables of the identity module. Each table maps a key to a text, by convention JSON. */
export type StateTable = 'agents' | 'join-tokens' | 'api-keys' | 'settings'

export interface StateRow {
  readonly key: string
  readonly value: string
}

export interface StateChange {
  readonly table: StateTable
  readonly key: string
  /** Null removes the row. */
  readonly value: string | null
  /**
   * If given, the whole commit fails unless the row holds exactly this text now; null requires that
   * the row does not exist. This is how one of two racing writers loses.
   */
  readonly expected?: string | null
}

/** Changes for a commit together with others, and what to do in memory once they are durable. */
export interface JointChanges {
  readonly changes: readonly StateChange[]
  applied(): void
}

export const noChanges: JointChanges = { changes: [], applied: () => undefined }

/** The store of the identity module's state: few rows, read once at start, written rarely. */
export interface StateStore {
  /** Every row of `table`, by key. Rejects when the store cannot be read. */
  load(table: StateTable): Promise<readonly StateRow[]>
  /**
   * Applies all changes or none. Resolves to true once they would survive a crash, and to false,
   * with nothing written, when an expectation failed. Rejects only when the outcome is unknown.
   */
  commit(changes: readonly StateChange[]): Promise<boolean>
  close(): Promise<void>
}
