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

/** A ledger entry as administration shows it: byte strings are hex. */
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
  /** Null for an entry that closes nothing. */
  readonly ended: EndingView | null
}

/** The reason is the ledger's own, where it closed an exchange by itself. */
export interface EndingView extends Ending {
  readonly reason: string | null
}

/** One exchange: its entries, and the decision of policy on it. */
export interface ExplainedExchange {
  readonly exchange: string
  readonly entries: readonly EntryView[]
  /** Null when the exchange was decided before policy. */
  readonly policy: PolicyExplanation | UnexplainedDecision | null
}

/** The ledger as it was derived from its files. */
export interface LedgerCheckView {
  readonly entries: number
  readonly tiles: number
  readonly root: string
  /** Exchanges under way. */
  readonly unclosed: number
}

export const readEntryView: Reader<EntryView> = readObject<EntryView>({
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
})

export const readExplainedExchange: Reader<ExplainedExchange> = readObject<ExplainedExchange>({
  exchange: readText,
  entries: readList(readEntryView),
  policy: readNullable(readExplanation),
})

export const readLedgerCheck: Reader<LedgerCheckView> = readObject<LedgerCheckView>({
  entries: readWhole,
  tiles: readWhole,
  root: readText,
  unclosed: readWhole,
})
