import type { EntryKind, FactValue } from '@countersign/protocol'
import type { LedgerReads, OpenedEntry } from './ledger-reads.ts'
import type { LogPruning } from './pruning.ts'
import type { SpaceState } from './space-guard.ts'
import type { StatedEntry } from './stated-entry.ts'

export type { EntryKind, FactValue }

/**
 * An entry to be recorded. `facts`, at least one, are never written in clear: each becomes a salted
 * commitment in the leaf, and the value with its salt is kept, encrypted, next to the log.
 */
export interface EntryDraft {
  readonly kind: EntryKind
  /** The exchange that the entry belongs to; an intent and its outcome share it. */
  readonly exchange: string
  /** Unix milliseconds. */
  readonly at: number
  readonly facts: Readonly<Record<string, FactValue>>
  /** Set by the fabric alone, for what goes on while the disk fills up. */
  readonly purpose?: EntryPurpose
}

/**
 * The reason why an entry is accepted although there would not be room for it if it began an
 * exchange. `administration`: the changes of its operator. `oversight`: the reads of an operator,
 * and the requests that keep agents enrolled. `lifecycle`: a change of the policies or of an agent
 * that takes effect once it is on record, or the stop; it does not wait behind other entries.
 */
export type EntryPurpose = 'administration' | 'oversight' | 'lifecycle'

/** A durable entry. */
export interface Committed {
  readonly exchange: string
  readonly kind: EntryKind
  readonly index: number
  /** SHA-256 of the leaf as the tree hashes it. */
  readonly leafHash: Uint8Array
}

/** Returns the entry about a batch, of which `isTaken` selects the entries that are stored. */
export type BatchDraft = (isTaken: (entry: StatedEntry) => boolean) => EntryDraft

/** The result for each entry of a batch, in their order. */
export interface CommittedBatch {
  /** A failure is as that of `append`. */
  readonly entries: readonly (Committed | { readonly cause: unknown })[]
  /** Of the entry about it; null where no entry was taken. */
  readonly index: number | null
}

export interface Ledger extends LedgerReads {
  /** The log slot; the ids of the exchanges that it records name it. */
  readonly slot: string
  readonly origin: string
  /** The public key of the log as a C2SP vkey, for receipts and trust files. */
  readonly vkey: string
  /**
   * Resolves once the entry would survive a power loss; under load it waits. Rejects when the
   * ledger cannot promise that: with LedgerBusy, nothing being recorded, where a named limit is
   * reached, and with ExchangeNotOpen for an outcome of an exchange that is closed.
   */
  append(draft: EntryDraft): Promise<Committed>
  /**
   * As `append` for the entries of one connector, next to each other and in one commit, followed by
   * `about`: an entry about those of them that were taken, if any was.
   */
  appendBatch(entries: readonly StatedEntry[], about: BatchDraft): Promise<CommittedBatch>
  /** The entry of this id that has the kind `batch`. */
  findBatch(id: string): Promise<OpenedEntry | null>
  /**
   * Rejects as `append` would with an entry of that purpose: to be asked before what cannot be
   * undone.
   */
  assertSpace(purpose: EntryPurpose | null): Promise<void>
  /** The receipt of an exchange, or null while no outcome, refusal or indeterminate closes it. */
  findReceipt(exchange: string): Promise<Uint8Array | null>
  /** Facts of every entry of one exchange, opened: for `explain`, which policy guards. */
  explain(exchange: string): Promise<readonly OpenedEntry[]>
  /**
   * The bytes of a C2SP tlog-tiles resource (`checkpoint`, `tile/…`), or of the statement about
   * pruned entries (`retention`), or null.
   */
  findResource(path: string): Promise<Uint8Array | null>
  /**
   * Re-derives everything from the files; resolves to what it checked, rejects on the first fault.
   */
  check(): Promise<LedgerCheck>
  /**
   * Resolves once the public checkpoint covers every entry that was acknowledged before the call.
   */
  flush(): Promise<FlushedLog>
  readonly size: number
  /** Costs little, at any time. */
  readonly state: LedgerState
  /** Called whenever the state of the disk becomes another one. */
  onSpace(listener: (space: SpaceState) => void): () => void
  /**
   * Called with the entries of each commit in the order of the log, before their callers have the
   * acknowledgement. An exception of a listener stops the ledger.
   */
  onDurable(listener: (entries: readonly OpenedEntry[]) => void): () => void
  /**
   * Counts the entries that name the subjects for whose canonical name `isSubject` is true, in a
   * place of `owner` among the reads. Rejects with LedgerBusy where there is none.
   */
  countEntries(isSubject: (name: string) => boolean, owner?: string): Promise<number>
  /** Throws LedgerBusy where this log has as many erased subjects as it may have. */
  assertErasable(): void
  /**
   * Makes every entry that names such a subject unreadable, for good, on record first. Does nothing
   * yet while exchanges under way name one: to be called again, with the same exchange.
   */
  erase(erasure: Erasure): Promise<Erased>
  /** Returns the facts of the intent that is open in this exchange; null if there is none. */
  openIntent(exchange: string): OpenIntent | null
  readonly pruning: LogPruning
  /** Waits for everything acknowledged to be in tiles, then releases files and lock. */
  close(): Promise<void>
}

/** Everything below `size` is in tiles, and under the public checkpoint. */
export interface FlushedLog {
  readonly size: number
  /** Unix milliseconds of the newest head. */
  readonly headAt: number
}

/** A subject that is to be erased. */
export interface Erasure {
  /** The exchange of the administrative operation that asked for it. */
  readonly exchange: string
  /** Takes the canonical name of a subject: bare for a principal of the trust domain. */
  isSubject(name: string): boolean
}

export interface Erased {
  /** Entries that named the subject. */
  readonly entries: number
  /** Exchanges that have to end first; 0 once it is erased. */
  readonly underWay: number
}

/** An intent that nothing has closed yet. */
export interface OpenIntent {
  /** The connector that recorded it; null for one of the gateway or a channel. */
  readonly producer: string | null
  /**
   * The caller's signature, which a countersignature has to cover; null where it signed nothing.
   */
  readonly requestSignature: Uint8Array | null
}

/** The state of the ledger, for health checks and metrics. */
export interface LedgerState {
  readonly size: number
  readonly publishedSize: number
  /** Entries that wait for their commit, and callers that wait for room among them. */
  readonly queueDepth: number
  readonly openIntents: number
  /** The most that one caller or connector has open; walks all owners. */
  readonly openIntentsLargest: number
  /** Of the newest commit; null before the first one. */
  readonly lastCommitMs: number | null
  /** Durable, and in no tile yet. */
  readonly unpublishedBytes: number
  readonly space: SpaceState
  /** Unix milliseconds of the newest head; a clock far behind it keeps the ledger from starting. */
  readonly headAt: number
}

export interface LedgerCheck {
  readonly entries: number
  readonly tiles: number
  readonly root: string
  readonly unclosed: number
}
