import type { EntryKind, FactValue } from '@countersign/protocol'

export interface OpenedEntry {
  readonly kind: EntryKind
  readonly exchange: string
  readonly index: number
  readonly at: number
  readonly facts: Readonly<Record<string, FactValue>>
  /**
   * Set for an entry that cannot be opened any more, because a subject of it was erased; it has no
   * facts then. Names the subjects that are left, by `subjectName`: they know that it exists.
   */
  readonly erased?: readonly string[]
}

/** Entries next to each other, in the order of the log. */
export interface EntryPage {
  readonly entries: readonly OpenedEntry[]
  /** The index after the last one: to go on from, also at the end of the log. */
  readonly next: number
}

export interface FollowOptions {
  /** Index of the first entry that is wanted; the size of the log for new ones alone. */
  readonly from: number
  /** The share that the follower counts against: the principal that reads. */
  readonly owner: string
  /** Ends it; so does `return`. */
  readonly signal?: AbortSignal
}

/**
 * One exchange as a list shows it: its intent and the entry that closed it, one of the two, or an
 * entry of administration. Its other entries are left to `explain`.
 */
export interface ExchangeLine {
  readonly exchange: string
  /** The index under which it is listed: of the closing entry, or of the intent until then. */
  readonly index: number
  /** In the order of the log; one or two. */
  readonly entries: readonly OpenedEntry[]
}

/** The properties that exchanges are found by. */
export type TermTable = 'caller' | 'user' | 'receiver' | 'operation' | 'tool' | 'result' | 'code'

/** An exchange is found if it states one of the values, as its facts have them. */
export interface Term {
  readonly table: TermTable
  readonly values: readonly string[]
}

/**
 * A part of the log by its lines. At most one of `before` and `after` is set; the newest lines
 * without them.
 */
export interface LineQuery {
  /** 1 to 1,000. */
  readonly countMax: number
  /** The share that the reader counts against: the principal that reads; none for the fabric. */
  readonly owner?: string
  /** Lines with a lower index than this, the newest of them. */
  readonly before?: number | undefined
  /** Lines from this index on, the oldest of them. */
  readonly after?: number | undefined
  /** All of them have to be met; every exchange is listed without one. */
  readonly terms?: readonly Term[]
  /** Exchanges that began within these times, both included. Unix milliseconds. */
  readonly since?: number | undefined
  readonly until?: number | undefined
}

export interface LinePage {
  /**
   * Newest first. Fewer than wanted, or none, where the work of one call is done, or waits for the
   * index: the same query goes on from the cursor.
   */
  readonly lines: readonly ExchangeLine[]
  /** `before` of the next older page; null at the start of the log. */
  readonly older: number | null
  /** `after` of the next newer page, which may be empty until there are new entries. */
  readonly newer: number
}

/** The readers' side of the ledger. Everything that they are shown is durable. */
export interface FollowerState {
  readonly owner: string
  /** Index of the next entry that it takes. */
  readonly position: number
}

export interface LedgerReads {
  /** The index of the first entry that is left; those before it were pruned. */
  readonly first: number
  /**
   * Up to `count` entries from the index `from` on, in the order of the log; fewer at the bound of
   * one answer, and none at its end. Rejects with UnknownCursor beyond the end, and LedgerBusy
   * where `owner` reads too much at once. Every call rejects with EntriesPruned for a pruned index.
   */
  read(from: number, count: number, owner?: string): Promise<EntryPage>
  /**
   * Every entry from `from` on, as it becomes durable, until the signal, `return`, or the end of
   * the ledger. A reader that was away goes on at the index after its last entry. Throws
   * UnknownCursor beyond the end, and LedgerBusy where too many follow.
   */
  follow(options: FollowOptions): AsyncIterableIterator<OpenedEntry>
  /** Everyone who follows, in the order in which they began. */
  readonly followers: readonly FollowerState[]
  /**
   * One line for each exchange. Rejects with UnknownCursor for an index beyond the end, and
   * LedgerBusy where the owner reads too much at once.
   */
  list(query: LineQuery): Promise<LinePage>
}

/** The entries that were asked for were removed under the retention policy. */
export class EntriesPruned extends RangeError {
  override readonly name = 'EntriesPruned'
  /** The index of the first entry that is left. */
  readonly first: number

  constructor(first: number) {
    super(`the entries before ${first} were removed under the retention policy of the log`)
    this.first = first
  }
}

/** An index beyond the end of the log: of another log, or of one that was cut back. */
export class UnknownCursor extends RangeError {
  override readonly name = 'UnknownCursor'
}
