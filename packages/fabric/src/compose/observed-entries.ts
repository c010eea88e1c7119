import {
  isPrincipalKey,
  type PrincipalKey,
  parseSpiffeId,
  principalKey,
} from '@countersign/protocol'
import type { RestorableDetection } from '../detection/create-detection.ts'
import type { Detection } from '../detection/detector.ts'
import { agentPrincipal } from '../identity/principals.ts'
import type { FactValue } from '../ledger/ledger.ts'
import type { OpenedEntry } from '../ledger/ledger-reads.ts'
import type { DerivedState } from '../ledger/log-consumer.ts'
import { subjectName } from '../ledger/named-subjects.ts'
import { causeOf } from '../pipeline/refusal-cause.ts'

/** Exchanges that are open, so that an ending finds its caller; the oldest is forgotten. */
const openMax = 65_536

/** The request of an exchange that is open, as far as its ending is about it. */
interface OpenExchange {
  readonly caller: PrincipalKey
  /** As its request names it. */
  readonly receiver: string
  readonly kind: 'agent' | 'channel' | 'fabric'
  /** Null for an exchange of a connector, whose request is observed with its intent. */
  readonly action: string | null
  readonly at: number
  readonly bytes: number
  readonly findings: number
  /** Credentials in the request, which a response may echo. */
  readonly credentials: number
}

type Facts = OpenedEntry['facts']

/**
 * Shows detection every exchange by what the ledger has of it, and nothing else: the state follows
 * from the log, so that a start can continue it.
 *
 * An exchange of the fabric counts once, with its ending. Of the entries of connectors, those of
 * the agent's own connector count, and those that the agent signed, which was proven before they
 * were recorded: otherwise any agent with a certificate could have policy shut out any other. Of an
 * entry that another connector recorded and the agent signed, the message and its receiver count;
 * all else is the connector's word, such as the operation, sizes and findings, and goes into the
 * account of what others bring about.
 */
export class ObservedEntries implements DerivedState {
  readonly #detection: RestorableDetection
  readonly #trustDomain: string
  readonly #open = new Map<string, OpenExchange>()

  constructor(detection: RestorableDetection, trustDomain: string) {
    this.#detection = detection
    this.#trustDomain = trustDomain
  }

  apply({ kind, exchange, at, facts }: OpenedEntry): void {
    if (kind === 'outcome' || kind === 'indeterminate') {
      const found = this.#open.get(exchange)
      this.#open.delete(exchange)
      if (found === undefined) return
      if (found.action === null) this.#observeResponse(found, { at, facts })
      else this.#observeEnded({ ...found, action: found.action }, facts)
    } else if (kind === 'intent' || kind === 'refusal') {
      const opened = isOfConnector(facts)
        ? this.#observeConnector(kind, { at, facts })
        : this.#observeFabric(kind, { at, facts })
      if (opened !== null) this.#opened(exchange, opened)
    }
  }

  lines(): Iterable<string> {
    const open = [...this.#open]
    const agents = this.#detection.lines()
    return (function* () {
      yield JSON.stringify({ format, open: open.length })
      for (const each of open) yield JSON.stringify(each)
      yield* agents
    })()
  }

  restore(lines: Iterable<string>): void {
    const [head = '', ...rest] = lines
    const parsed = Object(JSON.parse(head)) as Readonly<Record<string, unknown>>
    if (parsed['format'] !== format || typeof parsed['open'] !== 'number') {
      throw new TypeError('this is not the state of detection')
    }
    const open = rest.splice(0, parsed['open']).map(parseOpen)
    this.#detection.restore(rest)
    this.#open.clear()
    for (const [exchange, opened] of open) this.#open.set(exchange, opened)
  }

  *forget(isSubject: (name: string) => boolean): Generator<void, void> {
    const known = new Map<string, boolean>()
    const isForgotten = (value: string): boolean => {
      let found = known.get(value)
      if (found === undefined) {
        const name = subjectName(value, this.#trustDomain)
        found = name !== null && isSubject(name)
        known.set(value, found)
      }
      return found
    }
    for (const [exchange, { caller, receiver }] of [...this.#open]) {
      if (isForgotten(caller) || isForgotten(receiver)) this.#open.delete(exchange)
    }
    yield* this.#detection.forget(isForgotten)
  }

  #opened(exchange: string, opened: OpenExchange): void {
    this.#open.set(exchange, opened)
    const [oldest] = this.#open.keys()
    if (this.#open.size > openMax && oldest !== undefined) this.#open.delete(oldest)
  }

  #observeFabric(
    kind: 'intent' | 'refusal',
    { at, facts }: { readonly at: number; readonly facts: Facts },
  ): OpenExchange | null {
    const { caller, receiver, operation, masked } = facts
    // An agent is not blamed for what an unauthenticated peer did in its name: such a refusal names
    // no method.
    if (!isPrincipalKey(caller) || facts['caller.method'] === undefined) return null
    const target = kindOf(facts)
    const found = facts['private.found'] ?? masked
    const opened = {
      ...{ caller, receiver: String(receiver), kind: target, at },
      action: `${verbs[target]}:${String(operation)}`,
      bytes: sizeOf(facts['request.bytes']),
      ...{ findings: countOf(found, null), credentials: countOf(found, 'credential') },
    }
    if (kind === 'intent') return opened
    this.#observeEnded(opened, facts)
    return null
  }

  /** The whole exchange, and its response as an act of the receiver. */
  #observeEnded(request: OpenExchange & { readonly action: string }, facts: Facts): void {
    const { caller, receiver, kind, action, at } = request
    const { code, result } = facts
    // A refusal that came after delivery, or that the receiver states, is not evidence.
    const isRefused = result === undefined || result === 'refused'
    const byOthers = facts['private.by-others'] === true
    const cause = isRefused ? causeOf(code, { kind, byOthers }) : null
    // Administration is not traffic between agents. A busy operator is not a risk; an agent that
    // tries to administer and is denied is one.
    if (kind === 'fabric' && (!isRefused || code !== 'NOT_PERMITTED')) return
    const later = facts['private.found'] ?? facts['request.masked']
    const sent = request.credentials + countOf(later, 'credential')
    this.#detection.observe({
      ...{ at, caller, receiver, action },
      outcome: cause === 'caller' ? 'refused' : 'permitted',
      isDeclined: cause === 'others',
      // Of what a channel delivers, the senders decide how much and how often.
      messages: isConsumed(request) ? 0 : 1,
      // Of a streamed request: all that was forwarded of it.
      bytes: facts['request.frames'] === undefined ? request.bytes : sizeOf(facts['request.bytes']),
      receivedBytes: sizeOf(facts['response.bytes']),
      findings: request.findings + countOf(later, null),
      credentials: sent,
    })
    // An echo of what the caller sent is the caller's doing.
    const answered = facts['private.response-found'] ?? facts['response.masked']
    const leaked = countOf(answered, 'credential') - sent
    if (kind === 'agent' && leaked > 0) {
      const agent = agentPrincipal(receiver, this.#trustDomain)
      observeLeak(this.#detection, { at, agent, caller, leaked })
    }
  }

  #observeConnector(
    kind: 'intent' | 'refusal',
    { at, facts }: { readonly at: number; readonly facts: Facts },
  ): OpenExchange | null {
    const { operation, masked } = facts
    const receiver = String(facts['receiver'])
    const caller = principalOf(facts['caller'])
    const isOwn = caller !== null && caller === principalOf(facts['producer'])
    if (caller === null || (!isOwn && facts['attested.request'] !== 'caller')) return null
    const found = { findings: countOf(masked, null), credentials: countOf(masked, 'credential') }
    const bytes = sizeOf(facts['request.bytes'])
    const exchanged = { at, caller, receiver }
    const opened = { ...exchanged, ...found, kind: 'agent', action: null, bytes } as const
    if (!isOwn) {
      this.#detection.observe({
        ...{ ...exchanged, action: 'call', outcome: 'permitted', bytes: 0, findings: 0 },
        ...{ receivedBytes: bytes, claimed: found },
      })
      return kind === 'intent' ? opened : null
    }
    const cause = kind === 'refusal' ? causeOfDenial(facts) : null
    this.#detection.observe({
      ...{ ...exchanged, action: `call:${String(operation)}`, bytes, ...found },
      outcome: cause === 'caller' ? 'refused' : 'permitted',
      isDeclined: cause === 'others',
    })
    return kind === 'intent' ? opened : null
  }

  /** The response is the act of the receiver, whose own connector reports it. */
  #observeResponse(
    { caller, receiver, credentials }: OpenExchange,
    { at, facts }: { readonly at: number; readonly facts: Facts },
  ): void {
    const agent = agentPrincipal(receiver, this.#trustDomain)
    const receivedBytes = sizeOf(facts['response.bytes'])
    if (receivedBytes > 0) {
      this.#detection.observe({
        ...{ at, caller, receiver: agent, action: 'receive', outcome: 'permitted' },
        ...{ isResponse: true, messages: 0, bytes: 0, receivedBytes, findings: 0 },
      })
    }
    const leaked = countOf(facts['response.masked'], 'credential') - credentials
    if (leaked > 0) observeLeak(this.#detection, { at, agent, caller, leaked })
  }
}

const format = 'countersign-detection-4'

const verbs = { agent: 'call', channel: 'queue', fabric: 'administer' } as const

function isOfConnector({ producer, transport }: Facts): boolean {
  return producer !== undefined || transport === 'mesh'
}

/** By the protocol; a request that could not be read is one to the fabric itself. */
function kindOf({ protocol, receiver }: Facts): OpenExchange['kind'] {
  if (protocol === 'queue') return 'channel'
  return protocol === 'admin' || receiver === 'fabric' ? 'fabric' : 'agent'
}

function isConsumed({ kind, action }: OpenExchange): boolean {
  return kind === 'channel' && (action === 'queue:lease' || action === 'queue:settle')
}

/** Credentials in a response, as an observation of the agent that sent them. */
function observeLeak(
  detection: Pick<Detection, 'observe'>,
  leak: {
    readonly at: number
    readonly agent: PrincipalKey
    readonly caller: PrincipalKey
    readonly leaked: number
  },
): void {
  const { at, agent, caller, leaked } = leak
  detection.observe({
    ...{ at, caller: agent, receiver: caller, action: 'answer', outcome: 'permitted' },
    ...{ messages: 0, bytes: 0, receivedBytes: 0, findings: 0, credentials: 0, leaked },
  })
}

/** The principal that a fact names, whichever instance of it that is. */
function principalOf(value: FactValue | undefined): PrincipalKey | null {
  const id = typeof value === 'string' ? parseSpiffeId(value) : null
  return id === null
    ? null
    : principalKey({ kind: id.kind, issuer: id.trustDomain, subject: id.name })
}

/** A refusal with a result came after delivery: the receiver could state denials of any caller. */
function causeOfDenial(facts: Facts): ReturnType<typeof causeOf> {
  const byOthers = facts['private.by-others'] === true
  return facts['result'] === undefined ? causeOf(facts['code'], { kind: 'agent', byOthers }) : null
}

const sizeOf = (value: FactValue | undefined): number => (typeof value === 'number' ? value : 0)

/** Of `card:1 credential:2`, as a `masked` fact has it; all of them without a class. */
function countOf(masked: FactValue | undefined, only: string | null): number {
  const counts = typeof masked === 'string' ? [...masked.matchAll(/([\w-]+):(\d+)/g)] : []
  return counts
    .filter(([, dataClass]) => only === null || dataClass === only)
    .reduce((sum, [, , found]) => sum + Number(found), 0)
}

/** The file is authentic, so that its parts are those that were written. */
function parseOpen(line: string): readonly [string, OpenExchange] {
  const parsed: unknown = JSON.parse(line)
  if (!Array.isArray(parsed) || typeof parsed[0] !== 'string') {
    throw new TypeError('this is not an open exchange')
  }
  return [parsed[0], parsed[1] as OpenExchange]
}
