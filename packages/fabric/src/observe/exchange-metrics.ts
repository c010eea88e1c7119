import type { Metrics } from './metrics.ts'

/** The facts of an entry for metrics: as much of the ledger's draft as is counted here. */
export interface CountedEntry {
  readonly kind: string
  readonly exchange: string
  readonly facts: Readonly<Record<string, unknown>>
}

export interface ExchangeMetricsOptions {
  readonly metrics: Metrics
  /** Reports whether a receiver of that name exists: only such names become labels. */
  isKnown(receiver: string): boolean
  monotonic(): number
}

/** Receivers beyond these are counted together as `other`. */
const receiversMax = 100
/** Exchanges whose begin is remembered; the ledger's own bounds are in the same order. */
const openMax = 65_536
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120]

interface Begun {
  readonly transport: string
  readonly receiver: string
  readonly at: number
}

/**
 * Counts exchanges by what the ledger records of them: each one, on every transport, ends in an
 * entry. Called once for each entry that is durable.
 */
export function observeExchanges(options: ExchangeMetricsOptions): (entry: CountedEntry) => void {
  const { metrics, monotonic } = options
  const labels = ['transport', 'receiver'] as const
  const requests = metrics.counter({
    name: 'countersign_requests',
    help: 'Exchanges by how they ended: delivered, refused, completed, broken, unknown and others.',
    labels: [...labels, 'result'],
  })
  const refusals = metrics.counter({
    name: 'countersign_refusals',
    help: 'Refusals by code.',
    labels: ['transport', 'code'],
  })
  const seconds = metrics.histogram({
    name: 'countersign_request_duration_seconds',
    help: 'From the intent to the outcome, both durable; for a stream, all of it.',
    labels,
    buckets,
  })
  const entries = metrics.counter({
    name: 'countersign_entries',
    help: 'Entries that became durable.',
    labels: ['kind'],
  })
  const label = labeller(options)
  const begun = new Map<string, Begun>()

  return ({ kind, exchange, facts }) => {
    entries.add([kind])
    const transport = textOf(facts['transport'])
    if (kind === 'intent') {
      begun.set(exchange, { transport, receiver: label(facts['receiver']), at: monotonic() })
      const [oldest] = begun.keys()
      if (begun.size > openMax && oldest !== undefined) begun.delete(oldest)
      return
    }
    if (kind === 'refusal') {
      requests.add([transport, label(facts['receiver']), 'refused'])
      refusals.add([transport, textOf(facts['code'])])
      return
    }
    const open = begun.get(exchange)
    if (open === undefined || (kind !== 'outcome' && kind !== 'indeterminate')) return
    begun.delete(exchange)
    requests.add([open.transport, open.receiver, textOf(facts['result'], 'unknown')])
    seconds.observe([open.transport, open.receiver], (monotonic() - open.at) / 1000)
    if (facts['code'] !== undefined) refusals.add([open.transport, textOf(facts['code'])])
  }
}

/** Names that callers made up must not become labels: each would be a series for ever. */
function labeller({ isKnown }: ExchangeMetricsOptions): (receiver: unknown) => string {
  const known = new Set<string>()
  return (receiver) => {
    if (typeof receiver !== 'string') return 'other'
    if (known.has(receiver)) return receiver
    if (known.size >= receiversMax || !isKnown(receiver)) return 'other'
    known.add(receiver)
    return receiver
  }
}

/**
 * Closed sets of words: transports, codes and results. A connector’s are checked when it records.
 */
function textOf(value: unknown, otherwise = 'none'): string {
  return typeof value === 'string' && /^[A-Za-z_-]{1,40}$/.test(value) ? value : otherwise
}
