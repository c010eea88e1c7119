import { isRefusalCode, mayHaveActed, type RefusalCode } from '../control/refusals.ts'
import type { EntryKind, FactValue } from './leaf.ts'
import { type ExchangeResult, endingOf } from './receipt-ending.ts'

/** The facts that an entry with one result may state besides. */
interface EndingRule {
  /** Of codes that are known here, which may stand next to it. */
  readonly codes: (code: RefusalCode) => boolean
  readonly needsCode: boolean
  /** The progress of the message, where the entry states it. */
  readonly progress: 'not-sent' | 'sent' | 'answered' | null
  /** `none` where no response may be on record, `any` where one may be. */
  readonly response: 'none' | 'whole' | 'stream' | 'any'
}

const withheldCodes: ReadonlySet<RefusalCode> = new Set([
  'RESPONSE_REJECTED',
  'STREAM_REJECTED',
  'COUNTERSIGNATURE_MISSING',
  'COUNTERSIGNATURE_REJECTED',
  'WITHDRAWN',
])
/** Those that no receiver states: by the fabric's own receivers alone, or by none. */
const unstated: ReadonlySet<RefusalCode> = new Set([
  ...([
    'CREDENTIAL_SPENT',
    'EXCHANGE_UNKNOWN',
    'EXCHANGE_ERASED',
    'EXCHANGE_OPEN',
    'EPOCH_STALE',
  ] as const),
  ...(['EXCHANGE_ELSEWHERE', 'CURSOR_UNKNOWN', 'ENTRIES_PRUNED'] as const),
  ...(['CHANNEL_FULL', 'LEASE_LOST', 'IDEMPOTENCY_CONFLICT'] as const),
  ...(['MESSAGE_REPLAYED', 'OUTCOME_UNKNOWN'] as const),
])

const noCode = { codes: () => false, needsCode: false } as const

/** The one table of endings: by it entries are taken from connectors, and receipts verified. */
const rules: Readonly<Record<ExchangeResult, EndingRule>> = {
  delivered: { ...noCode, progress: null, response: 'whole' },
  completed: { ...noCode, progress: null, response: 'stream' },
  abandoned: { ...noCode, progress: null, response: 'any' },
  refused: {
    codes: (code) => code === 'WITHDRAWN' || !mayHaveActed(code),
    ...{ needsCode: true, progress: 'not-sent', response: 'none' },
  },
  withheld: {
    codes: (code) => withheldCodes.has(code),
    ...{ needsCode: true, progress: 'answered', response: 'any' },
  },
  cut: {
    codes: (code) => withheldCodes.has(code),
    ...{ needsCode: true, progress: 'answered', response: 'any' },
  },
  // Neither delivered nor lost: no fact may make it look like one of the two.
  unobserved: { ...noCode, progress: null, response: 'none' },
  // `RESPONSE_REJECTED` in entries of older versions.
  broken: {
    codes: (code) => code === 'OUTCOME_UNKNOWN' || code === 'RESPONSE_REJECTED',
    ...{ needsCode: true, progress: 'answered', response: 'any' },
  },
  stated: {
    codes: (code) => !unstated.has(code),
    ...{ needsCode: true, progress: 'answered', response: 'none' },
  },
  unknown: {
    codes: (code) => code === 'OUTCOME_UNKNOWN',
    ...{ needsCode: false, progress: 'sent', response: 'none' },
  },
}

/** Facts recorded of a response alone; `response.bytes` is 0 where none came. */
const ofResponse = /^(?:attested\.response|response\.(?!bytes$).*|status|transcript|events)$/
const ofStream: ReadonlySet<string> = new Set(['transcript', 'events'])

/**
 * Returns why a closing entry states two endings, of which each reader would see the one that it
 * looks for, or none; null where it states one, or closes nothing. `names` are those of all facts
 * of the entry, those that a receipt withholds included. A code that is not known here is of a
 * newer version.
 */
export function endingFault(
  kind: EntryKind,
  facts: Readonly<Record<string, FactValue>>,
  names: readonly string[] = Object.keys(facts),
): string | null {
  const ending = endingOf(kind, facts)
  if (ending === null) return null
  const { result, code } = ending
  const rule = rules[result]
  if (rule.needsCode && code === null) return `what is ${result} needs a code`
  if (isRefusalCode(code) && !rule.codes(code)) return `what is ${result} has no code ${code}`
  if (code !== null && !rule.needsCode && result !== 'unknown') {
    return `what is ${result} was not refused`
  }
  const { progress } = facts
  if (progress !== undefined && progress !== rule.progress) {
    return `what is ${result} did not come as far as ${String(progress)}`
  }
  return responseFault(result, rule.response, { facts, names })
}

function responseFault(
  result: ExchangeResult,
  response: EndingRule['response'],
  {
    facts,
    names,
  }: { readonly facts: Readonly<Record<string, FactValue>>; readonly names: readonly string[] },
): string | null {
  if (response === 'any') return null
  if (response === 'none') {
    const isOnRecord = names.some((name) => ofResponse.test(name))
    const isCounted = (facts['response.bytes'] ?? 0) !== 0
    return isOnRecord || isCounted ? `what is ${result} has no response on record` : null
  }
  const isStream = names.some((name) => ofStream.has(name))
  if (response === 'whole') return isStream ? 'a stream is completed, not delivered' : null
  return names.includes('transcript') ? null : 'a stream is completed with a transcript of it'
}
