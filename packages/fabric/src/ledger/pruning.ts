/** The reason why an entry of a log is not pruned. */
export type KeptBy =
  /** No policy is configured. */
  | 'policy'
  /** The entries are younger than the policy keeps. */
  | 'age'
  /** A hold covers entries; named. */
  | 'hold'
  /** The wall clock of this process went ahead by more than its monotonic clock. */
  | 'clock'
  /** An exchange that began there is still under way; named. */
  | 'exchange'
  /** They are not in a published checkpoint, or not in whole files yet. */
  | 'publication'
  /** A consumer of the log has not read them; named. */
  | 'reader'
  /** An erasure is under way. */
  | 'erasure'
  /** The next pruning goes on. */
  | 'turn'

/** Returned by a plan: the part of a log that a pruning would remove now. */
export interface PrunePlan {
  /** Null without a policy. */
  readonly keepDays: number | null
  /** The first entry that is left now, and the one that would be. Equal where nothing goes. */
  readonly first: number
  readonly minimum: number
  /** Of the newest checkpoint. */
  readonly size: number
  /** When the oldest entry that goes was recorded, and the newest began. Null where none goes. */
  readonly oldestAt: number | null
  readonly newestAt: number | null
  /** Entries that are older go. Null without a policy. Unix milliseconds. */
  readonly before: number | null
  /** About as many, from a sample of the files. */
  readonly bytes: number
  /** The reason why the entry `minimum` stays, and its name where it has one. */
  readonly keptBy: KeptBy
  readonly keptByName: string | null
}

export interface PruneOrder {
  /** The exchange of the operation that asks for it; null for the log itself. */
  readonly exchange: string | null
}

/** A pruning that was carried out. */
export interface PruneResult {
  readonly first: number
  readonly minimum: number
  /** The index of the entry that records it; null where nothing was pruned. */
  readonly entry: number | null
  /** Of the files that were removed. */
  readonly files: number
  readonly bytes: number
  /** Files that could not be removed; the next round tries again. */
  readonly failed: number
  readonly keptBy: KeptBy
  readonly keptByName: string | null
}

/** The pruned part of a log, and how it grows. */
export interface LogPruning {
  /** Returns the part that a pruning would remove now; changes nothing. */
  plan(): Promise<PrunePlan>
  /**
   * Removes entries that are older than the policy keeps, on record first. A second call waits for
   * the one before. Removes nothing without a policy.
   */
  prune(order: PruneOrder): Promise<PruneResult>
  /** True where entries of the time of that exchange were pruned, as its id shows the time. */
  mayHave(exchange: string): boolean
  /** True for the path of a bundle of pruned entries. */
  hasResource(path: string): boolean
  /**
   * Keeps the entries from `position` on, while it is not null, from being pruned; returns the
   * function that ends it.
   */
  keepFrom(name: string, position: () => number | null): () => void
}
