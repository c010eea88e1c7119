import type { EntryKind, FactValue } from './leaf.ts'
import type { ExchangeResult } from './receipt-ending.ts'

/** UTF-16 units of a text that callers or stages worded: a tool, a resource, a detail. */
export const wordsLengthMax = 2048

/**
 * UTF-16 units of the name of an operation: that of a method, recorded for refused calls as well.
 */
export const operationLengthMax = 256

/** Without these an entry of the kind states nothing, or nothing that can be attributed. */
const needed: Readonly<Record<EntryKind, readonly string[]>> = {
  genesis: [],
  intent: ['transport', 'protocol', 'operation', 'caller', 'receiver', 'attested.request'],
  outcome: ['result'],
  refusal: ['code', 'transport', 'protocol', 'operation', 'receiver'],
  indeterminate: ['result'],
  lifecycle: ['event'],
  erasure: ['reference', 'entries'],
  batch: ['producer', 'key', 'statement'],
}

/** Results after which a response was forwarded, so that the entry must name who attests it. */
const answered: ReadonlySet<FactValue | undefined> = new Set<ExchangeResult>([
  'delivered',
  'completed',
])

/** The first fact that an entry of the kind lacks; null if it has all. */
export function missingFact(
  kind: EntryKind,
  facts: Readonly<Record<string, FactValue>>,
): string | null {
  const { result } = facts
  const names = [
    ...needed[kind],
    ...(kind === 'outcome' && answered.has(result) ? ['attested.response'] : []),
    // Without it a reader of the ledger could not determine what the receiver stated.
    ...(result === 'stated' ? ['code'] : []),
  ]
  return names.find((name) => !Object.hasOwn(facts, name)) ?? null
}
