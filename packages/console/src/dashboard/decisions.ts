import { type EntryView, type ExchangeView, quotedUnlessWord } from '@countersign/protocol'

/** One line of the table: an exchange, from whatever entries of it were seen so far. */
export interface Decision {
  readonly exchange: string
  readonly at: number
  readonly caller: string
  readonly receiver: string
  readonly operation: string
  readonly transport: string
  readonly masked: string
  readonly outcome: string
  /** From its beginning to its end, in milliseconds; null where one of them is not known. */
  readonly tookMs: number | null
  /** `fabric`, or the agent whose connector recorded the exchange. */
  readonly recordedBy: string
  readonly tone: 'good' | 'bad' | 'warn'
}

const blank = { caller: '', receiver: '', operation: '', transport: '', masked: '' }

/** The decisions with one more entry, or a whole exchange, in them, newest first. */
export function mergeDecision(
  decisions: readonly Decision[],
  entry: EntryView & Partial<Pick<ExchangeView, 'durationMs'>>,
): readonly Decision[] {
  const known = decisions.find(({ exchange }) => exchange === entry.exchange)
  const { facts } = entry
  const fact = (name: string, otherwise: string) => String(facts[name] ?? otherwise)
  const before = known ?? { ...blank, exchange: entry.exchange, at: entry.at }
  const next: Decision = {
    exchange: entry.exchange,
    at: before.at,
    caller: entry.principal ?? before.caller,
    receiver: fact('receiver', before.receiver),
    operation: operationOf(entry) ?? before.operation,
    transport: fact('transport', before.transport),
    masked: fact('masked', before.masked),
    recordedBy: recorderAfter(known, entry),
    tookMs: tookAfter(known, entry),
    ...outcomeOf(entry),
  }
  const others = decisions.filter(({ exchange }) => exchange !== entry.exchange)
  return [next, ...others].toSorted((a, b) => b.at - a.at)
}

function tookAfter(
  known: Decision | undefined,
  { at, ended, durationMs }: EntryView & Partial<Pick<ExchangeView, 'durationMs'>>,
): number | null {
  if (durationMs !== undefined) return durationMs
  if (known === undefined) return null
  return ended === null ? known.tookMs : Math.max(0, at - known.at)
}

/**
 * The fabric may close what a connector opened; what was asked is then still the connector's word.
 */
function recorderAfter(known: Decision | undefined, { producer }: EntryView): string {
  const recorder = producer ?? 'fabric'
  if (known === undefined || known.recordedBy === recorder) return recorder
  return `${known.recordedBy}, ${recorder}`
}

/** Null for an entry that closes what another one opened. */
function operationOf({ facts, object, reason, changedBy }: EntryView): string | null {
  const operation = facts['operation'] ?? facts['event']
  if (operation === undefined) return null
  const why = reason === null ? '' : `because ${JSON.stringify(reason)}`
  const who = changedBy === null ? '' : `by ${changedBy}`
  const named = [String(operation), String(facts['tool'] ?? ''), object ?? '']
  return [...named.filter(Boolean).map(quotedUnlessWord), why, who].filter(Boolean).join(' ')
}

function outcomeOf({ kind, facts, ended }: EntryView): Pick<Decision, 'outcome' | 'tone'> {
  if (facts['erased'] === true) return { outcome: 'erased', tone: 'warn' }
  if (kind === 'intent') return { outcome: 'under way', tone: 'warn' }
  if (ended === null) return { outcome: String(facts['event'] ?? kind), tone: 'warn' }
  const { result, code, reason } = ended
  if (result === 'unknown') {
    return { outcome: reason === null ? result : `${result}: ${reason}`, tone: 'warn' }
  }
  if (result === 'refused' && code !== null) return { outcome: code, tone: 'bad' }
  if (code !== null) return { outcome: `${result}: ${code}`, tone: 'bad' }
  const tone = ['delivered', 'completed'].includes(result) ? 'good' : 'warn'
  const countersigned = facts['attested.response'] === 'callee'
  return { outcome: countersigned ? `${result}, countersigned` : result, tone }
}
