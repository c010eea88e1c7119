import { type Ending, EXCHANGE_RESULTS } from '../log/receipt-ending.ts'
import {
  type PolicyExplanation,
  readExplanation,
  type UnexplainedDecision,
} from './admin-policies.ts'
import {
  type Reader,
  readList,
  readMap,
  readNullable,
  readObject,
  readOneOf,
  readScalar,
  readText,
  readWhole,
} from './admin-reader.ts'

/**
 * A ledger entry as administration shows it: byte strings are hex. One that cannot be opened any
 * more, because a principal that it names was erased, has `erased`, true, for its only fact.
 */
export interface EntryView {
  /** A kind of entry; one of a newer ledger is shown as it is. */
  readonly kind: string
  readonly exchange: string
  readonly index: number
  /** Unix milliseconds. */
  readonly at: number
  readonly facts: Readonly<Record<string, string | number | boolean>>
  /** The caller's short name; null before any caller was authenticated. */
  readonly caller: string | null
  /** The caller's short name, or that of the principal that an entry without a caller is about. */
  readonly principal: string | null
  /** The agent whose connector recorded the entry; null for the fabric itself. */
  readonly producer: string | null
  /** The object of an administrative operation, and the reason for it. */
  readonly object: string | null
  readonly reason: string | null
  /**
   * Of a change of the policies: the exchanges that wrote them, and `files` for the folder itself.
   */
  readonly changedBy: string | null
  /** Null for an entry that closes nothing, and for one that was erased. */
  readonly ended: EndingView | null
}

/** The reason is the ledger's own, where it closed an exchange by itself. */
export interface EndingView extends Ending {
  readonly reason: string | null
}

/** An entry as it is followed, with the place after it. */
export interface FollowedEntry extends EntryView {
  /** To go on after this entry, also in a later request: `after` of `decisions.watch`. */
  readonly cursor: string
}

/**
 * One exchange as a list shows it: the entry that closed it, or its intent while it is under way,
 * with the facts of the intent. Byte strings and facts that are private stay with `explain`.
 */
export interface ExchangeView extends EntryView {
  /** From the intent to the closing entry; null while it is under way, and for a single entry. */
  readonly durationMs: number | null
}

/** A part of the log, newest exchange first, with the cursors of its neighbours. */
export interface ExchangePage {
  readonly exchanges: readonly ExchangeView[]
  /** `before` of the next older page; null at the start of the log. */
  readonly older: string | null
  /** `after` of the next newer page, which may be empty until there are new entries. */
  readonly newer: string
}

/** Entries next to each other, in the order of the log. */
export interface EntryPage {
  readonly entries: readonly EntryView[]
  /** `after` of the next page, which may be empty until there are new entries. */
  readonly newer: string
}

/** The newest exchanges, or those next to a cursor: at most one of `before` and `after`. */
export interface LogPartArgs {
  readonly countMax?: number | undefined
  readonly before?: string | undefined
  readonly after?: string | undefined
}

/** The results that exchanges are found by: `open` for those under way. */
export const FINDABLE_RESULTS = [...EXCHANGE_RESULTS, 'open'] as const

/** Exchanges that meet all that is given. */
export interface LedgerFindArgs extends LogPartArgs {
  /** A name of the directory, or the canonical form of a principal. */
  readonly caller?: string | undefined
  /** The user on whose behalf the caller acted, likewise. */
  readonly user?: string | undefined
  readonly receiver?: string | undefined
  /** Of an entry of administration, its operation or event. */
  readonly operation?: string | undefined
  readonly tool?: string | undefined
  readonly result?: (typeof FINDABLE_RESULTS)[number] | undefined
  /** A refusal code. */
  readonly code?: string | undefined
  /** When it began, both included. Unix milliseconds. */
  readonly since?: number | undefined
  readonly until?: number | undefined
}

/** One exchange: its entries, and the decision of policy on it. */
export interface ExplainedExchange {
  readonly exchange: string
  readonly entries: readonly EntryView[]
  /** Null when the exchange was decided before policy. */
  readonly policy: PolicyExplanation | UnexplainedDecision | null
}

/** A principal as the log of one slot names it. */
export interface SubjectView {
  readonly subject: string
  /** The log slot of the process that answers. */
  readonly slot: string
  /** Entries that name it. */
  readonly entries: number
  /** Of its row in the directory; null without one. */
  readonly status: string | null
  /** Every log slot: each has entries of its own. */
  readonly slots: readonly string[]
}

export interface EraseArgs {
  /** A name of the directory, or the canonical form of a principal. */
  readonly subject: string
  readonly reason?: string | undefined
}

/** The erasure of a principal, as far as it has come. */
export interface ErasureView {
  readonly subject: string
  /** The log slot of the process that answers. */
  readonly slot: string
  /** Entries of that slot that cannot be read any more. */
  readonly entries: number
  /** Exchanges of that slot that have to end before it is erased there; 0 once it is. */
  readonly underWay: number
  /** Slots that have yet to carry it out. */
  readonly pending: readonly string[]
  /**
   * Unix milliseconds: copies of the keys that were made before have to be destroyed. Null while
   * this slot is pending.
   */
  readonly keysBefore: number | null
}

/** The reasons why an entry is not pruned; `turn`: the next pruning goes on. */
export const KEPT_BY = [
  'policy',
  'age',
  'hold',
  'clock',
  'exchange',
  'publication',
  'reader',
  'erasure',
  'turn',
] as const

/** The end of a pruning. */
export interface PruneBound {
  /** The first entry that was left before, and the one that is after it. Equal where none goes. */
  readonly first: number
  readonly minimum: number
  /** The reason why the entry `minimum` stays, and the name of the exchange, hold or consumer. */
  readonly keptBy: (typeof KEPT_BY)[number]
  readonly keptByName: string | null
}

/** The part of the log of one slot that a pruning would remove now. */
export interface RetentionView extends PruneBound {
  readonly slot: string
  /** Of the first entry that is left: to read from it, or to follow. */
  readonly cursor: string
  /** Days for which the policy keeps entries; null without a policy. */
  readonly keepDays: number | null
  readonly holds: readonly HoldView[]
  /** Entries of the log, pruned ones included. */
  readonly size: number
  /** Of what goes: when the oldest entry was recorded, and when the newest exchange began. */
  readonly oldestAt: number | null
  readonly newestAt: number | null
  /** About as many, from a sample of the files. */
  readonly bytes: number
}

/** Entries of these times are kept, both included. Unix milliseconds. */
export interface HoldView {
  readonly name: string
  readonly from: number
  readonly until: number
  readonly reason: string
}

export interface PruneArgs {
  /** The log slot of the process that is asked. */
  readonly slot: string
  readonly reason?: string | undefined
}

/** A pruning that was carried out. */
export interface PruneView extends PruneBound {
  readonly slot: string
  /** The index of the entry that records it; null where nothing was pruned. */
  readonly entry: number | null
  /** Of the files that were removed. */
  readonly files: number
  readonly bytes: number
  /** Files that could not be removed; the next pruning tries again. */
  readonly failed: number
}

/** The ledger as it was derived from its files. */
export interface LedgerCheckView {
  readonly entries: number
  readonly tiles: number
  readonly root: string
  /** Exchanges under way. */
  readonly unclosed: number
}

const entryFields = {
  kind: readText,
  exchange: readText,
  index: readWhole,
  at: readWhole,
  facts: readMap(readScalar),
  caller: readNullable(readText),
  principal: readNullable(readText),
  producer: readNullable(readText),
  object: readNullable(readText),
  reason: readNullable(readText),
  changedBy: readNullable(readText),
  ended: readNullable(
    readObject<EndingView>({
      result: readOneOf(EXCHANGE_RESULTS),
      code: readNullable(readText),
      reason: readNullable(readText),
    }),
  ),
}

export const readEntryView: Reader<EntryView> = readObject<EntryView>(entryFields)

export const readFollowedEntry: Reader<FollowedEntry> = readObject<FollowedEntry>({
  ...entryFields,
  cursor: readText,
})

export const readEntryPage: Reader<EntryPage> = readObject<EntryPage>({
  entries: readList(readEntryView),
  newer: readText,
})

export const readExchangePage: Reader<ExchangePage> = readObject<ExchangePage>({
  exchanges: readList(
    readObject<ExchangeView>({ ...entryFields, durationMs: readNullable(readWhole) }),
  ),
  older: readNullable(readText),
  newer: readText,
})

export const readExplainedExchange: Reader<ExplainedExchange> = readObject<ExplainedExchange>({
  exchange: readText,
  entries: readList(readEntryView),
  policy: readNullable(readExplanation),
})

export const readSubjectView: Reader<SubjectView> = readObject<SubjectView>({
  subject: readText,
  slot: readText,
  entries: readWhole,
  status: readNullable(readText),
  slots: readList(readText),
})

export const readErasureView: Reader<ErasureView> = readObject<ErasureView>({
  subject: readText,
  slot: readText,
  entries: readWhole,
  underWay: readWhole,
  pending: readList(readText),
  keysBefore: readNullable(readWhole),
})

const boundFields = {
  first: readWhole,
  minimum: readWhole,
  keptBy: readOneOf(KEPT_BY),
  keptByName: readNullable(readText),
}

export const readRetention: Reader<RetentionView> = readObject<RetentionView>({
  ...boundFields,
  slot: readText,
  cursor: readText,
  keepDays: readNullable(readWhole),
  holds: readList(
    readObject<HoldView>({ name: readText, from: readWhole, until: readWhole, reason: readText }),
  ),
  size: readWhole,
  oldestAt: readNullable(readWhole),
  newestAt: readNullable(readWhole),
  bytes: readWhole,
})

export const readPruneView: Reader<PruneView> = readObject<PruneView>({
  ...boundFields,
  slot: readText,
  entry: readNullable(readWhole),
  files: readWhole,
  bytes: readWhole,
  failed: readWhole,
})

export const readLedgerCheck: Reader<LedgerCheckView> = readObject<LedgerCheckView>({
  entries: readWhole,
  tiles: readWhole,
  root: readText,
  unclosed: readWhole,
})
