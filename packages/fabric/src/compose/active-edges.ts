import type { OpenedEntry } from '../ledger/ledger-reads.ts'
import type { DerivedState } from '../ledger/log-consumer.ts'
import { subjectName } from '../ledger/named-subjects.ts'
import type { Activity, ActivityResult, EdgeEvent } from '../observe/activity.ts'

/** Exchanges that are open, so that an ending finds its edge; the oldest is forgotten. */
export const openExchangesMax = 65_536

type OpenExchange = Pick<EdgeEvent, 'at' | 'caller' | 'kind' | 'receiver' | 'requestBytes'>
type Facts = OpenedEntry['facts']

const format = 'countersign-activity-1'
/** Of names that no principal has, which callers make up. */
const unknownReceiver = '(unknown)'

/**
 * Counts exchanges by edge, from the entries of the log and nothing else. Administration is not
 * traffic between agents, and is left out. Of the entries of connectors those count that their
 * caller's own connector recorded, and those that the caller signed: any other would be an edge
 * that its connector could make up.
 */
export class ActiveEdges implements DerivedState {
  readonly #activity: Activity
  readonly #trustDomain: string
  readonly #open = new Map<string, OpenExchange>()

  constructor(activity: Activity, trustDomain: string) {
    this.#activity = activity
    this.#trustDomain = trustDomain
  }

  apply({ kind, exchange, at, facts }: OpenedEntry): void {
    const responseBytes = sizeOf(facts['response.bytes'])
    if (kind === 'outcome' || kind === 'indeterminate') {
      const begun = this.#open.get(exchange)
      if (begun === undefined) return
      this.#open.delete(exchange)
      const latencyMs = Math.max(0, at - begun.at)
      this.#activity.observe({ ...begun, at, result: resultOf(facts), latencyMs, responseBytes })
    } else if (kind === 'intent' || kind === 'refusal') {
      const begun = this.#edgeOf(at, facts)
      if (begun === null) return
      if (kind === 'intent') this.#opened(exchange, begun)
      // The caller's side of a call that its receiver has recorded as well.
      else if (!this.#open.has(exchange)) {
        const ended = { result: resultOf(facts), latencyMs: null, responseBytes }
        this.#activity.observe({ ...begun, ...ended })
      }
    }
  }

  lines(): Iterable<string> {
    const open = [...this.#open]
    const callers = this.#activity.lines()
    return (function* () {
      yield JSON.stringify({ format, open: open.length })
      for (const each of open) yield JSON.stringify(each)
      yield* callers
    })()
  }

  restore(lines: Iterable<string>): void {
    const [head = '', ...rest] = lines
    const parsed = Object(JSON.parse(head)) as Readonly<Record<string, unknown>>
    if (parsed['format'] !== format || typeof parsed['open'] !== 'number') {
      throw new TypeError('this is not the state of activity')
    }
    const open = rest.splice(0, parsed['open']).map((line) => JSON.parse(line) as Opened)
    this.#activity.restore(rest)
    this.#open.clear()
    for (const [exchange, begun] of open) this.#open.set(exchange, begun)
  }

  *forget(isSubject: (name: string) => boolean): Generator<void, void> {
    for (const [exchange, { caller, kind, receiver }] of [...this.#open]) {
      if (isSubject(caller) || (kind === 'agent' && isSubject(receiver))) {
        this.#open.delete(exchange)
      }
    }
    yield* this.#activity.forget(isSubject)
  }

  #opened(exchange: string, begun: OpenExchange): void {
    this.#open.set(exchange, begun)
    const [oldest] = this.#open.keys()
    if (this.#open.size > openExchangesMax && oldest !== undefined) this.#open.delete(oldest)
  }

  /** Null for what is not an exchange between two agents, or one with a channel. */
  #edgeOf(at: number, facts: Facts): OpenExchange | null {
    const { protocol, receiver } = facts
    const caller = this.#nameOf(facts['caller'])
    if (caller === null || !this.#isProven(caller, facts)) return null
    if (protocol === 'admin' || receiver === 'fabric') return null
    const kind = protocol === 'queue' ? 'channel' : 'agent'
    const name = kind === 'channel' ? String(receiver) : this.#nameOf(receiver)
    const isKnown = name !== null && facts['code'] !== 'RECEIVER_UNKNOWN'
    return {
      ...{ at, caller, kind, receiver: isKnown ? name : unknownReceiver },
      requestBytes: sizeOf(facts['request.bytes']),
    }
  }

  #isProven(caller: string, facts: Facts): boolean {
    const { producer } = facts
    if (producer === undefined && facts['transport'] !== 'mesh') {
      return facts['caller.method'] !== undefined
    }
    return caller === this.#nameOf(producer) || facts['attested.request'] === 'caller'
  }

  #nameOf(value: Facts[string] | undefined): string | null {
    return typeof value === 'string' ? subjectName(value, this.#trustDomain) : null
  }
}

type Opened = readonly [exchange: string, begun: OpenExchange]

/** Of an entry that states none, as a refusal before delivery does, and of all others: refused. */
function resultOf({ result }: Facts): ActivityResult {
  return results.get(result) ?? 'refused'
}

const results: ReadonlyMap<Facts[string] | undefined, ActivityResult> = new Map([
  ['delivered', 'delivered'],
  ['completed', 'delivered'],
  ['cut', 'failed'],
  ['abandoned', 'failed'],
  ['broken', 'failed'],
  ['unknown', 'unknown'],
  ['unobserved', 'unknown'],
])

const sizeOf = (value: Facts[string] | undefined): number => (typeof value === 'number' ? value : 0)
