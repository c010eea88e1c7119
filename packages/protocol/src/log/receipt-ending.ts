import { isRefusalCode, mayHaveActed } from '../control/refusals.ts'
import type { EntryKind, FactValue } from './leaf.ts'

/**
 * Every way in which an exchange ends. `delivered`: a whole response; `completed`: a whole stream;
 * `refused`: stopped by a rule; `cut`: a stream stopped by a rule; `abandoned`: the caller left a
 * stream; `withheld`: the receiver acted, and its response was not handed over; `broken`: a stream
 * broke off; `unknown`: the receiver may have acted; `stated`: the receiver states that it refused,
 * which no other party can confirm, so it may have acted; `unobserved`: the fabric handed it over
 * to another process, and was never to see its end.
 */
export const EXCHANGE_RESULTS = [
  'delivered',
  'completed',
  'refused',
  'cut',
  'abandoned',
  'withheld',
  'broken',
  'unknown',
  'stated',
  'unobserved',
] as const
export type ExchangeResult = (typeof EXCHANGE_RESULTS)[number]

export function isExchangeResult(value: unknown): value is ExchangeResult {
  return (EXCHANGE_RESULTS as readonly unknown[]).includes(value)
}

/** The ending of an exchange, and the refusal code where a rule ended it. */
export interface Ending {
  readonly result: ExchangeResult
  readonly code: string | null
}

/**
 * The ending that a closing entry states; null for an entry that closes nothing, and for one that
 * states nothing any more, because a subject of it was erased. A caller's
 * connector records its side of a call as one entry of kind `refusal`, also where the receiver may
 * have acted, so the kind alone is not sufficient.
 */
export function endingOf(
  kind: EntryKind,
  facts: Readonly<Record<string, FactValue>>,
): Ending | null {
  const { result, code } = facts
  const known = typeof code === 'string' ? code : null
  switch (kind) {
    case 'indeterminate':
      return { result: 'unknown', code: known }
    case 'outcome':
    case 'refusal':
      if (result === undefined && code === undefined) return null
      return { result: isExchangeResult(result) ? result : resultOfCode(known), code: known }
    case 'genesis':
    case 'intent':
    case 'lifecycle':
    case 'erasure':
    case 'batch':
      return null
  }
}

/** The result that goes without saying where an entry gives a code alone. */
function resultOfCode(code: string | null): ExchangeResult {
  if (code === 'OUTCOME_UNKNOWN') return 'unknown'
  // A right can be withdrawn at any time; where that was after delivery, the entry has a result.
  if (!isRefusalCode(code) || code === 'WITHDRAWN') return 'refused'
  return mayHaveActed(code) ? 'withheld' : 'refused'
}

/** The results that a lone refusal can state: those after which the receiver acted or may have. */
export const REFUSAL_RESULTS = ['unknown', 'withheld', 'cut', 'broken', 'stated'] as const
