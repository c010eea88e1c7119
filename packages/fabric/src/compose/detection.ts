import { ListenerSet, type PrincipalKey, parseSpiffeId, principalKey } from '@countersign/protocol'
import { createDetection, type RestorableDetection } from '../detection/create-detection.ts'
import { agentPrincipal } from '../identity/principals.ts'
import type { EntryDraft, FactValue } from '../ledger/ledger.ts'
import type { Clock } from '../lib/clock.ts'
import { type Cause, causeOf, leakOf } from '../pipeline/observe.ts'

/** Detection that notifies the code that acts on risk when the risk of an agent has just risen. */
export interface WatchedDetection extends RestorableDetection {
  onSignal(listener: () => void): () => void
}

export function composeDetection(clock: Clock): WatchedDetection {
  const detection = createDetection({ clock })
  const listeners = new ListenerSet()
  return {
    ...detection,
    observe(observation) {
      const signals = detection.observe(observation)
      if (signals.length > 0) listeners.notify()
      return signals
    },
    raise(signal) {
      detection.raise(signal)
      listeners.notify()
    },
    onSignal: (listener) => listeners.add(listener),
  }
}

/**
 * Exchanges of connectors that are open, so that a response finds its caller; the oldest is
 * forgotten.
 */
const openMax = 10_000

interface ObserverDeps {
  readonly trustDomain: string
  /** Reports whether the agent of that name is known, and cut off from others. */
  isDismissed(agent: string): boolean
}

/**
 * Observes the entries that connectors record as well: an agent that misbehaves over the mesh is
 * just as risky. Only entries of the agent's own connector count, and those that the agent signed,
 * which was proven before they were recorded: otherwise any agent with a certificate could have
 * policy shut out any other. Of an entry that another connector recorded and the agent signed, the
 * message and its receiver count; all else is the connector's word, such as the operation, sizes
 * and findings, and goes into the account of what others bring about.
 */
export function createEntryObserver(
  detection: WatchedDetection,
  { trustDomain, isDismissed }: ObserverDeps,
): (draft: EntryDraft) => void {
  const open = new Map<string, OpenExchange>()
  return ({ kind, exchange, at, facts }) => {
    if (kind === 'outcome' || kind === 'indeterminate') {
      const found = open.get(exchange)
      open.delete(exchange)
      if (found !== undefined) observeResponse(detection, { at, facts, ...found })
      return
    }
    if (kind !== 'intent' && kind !== 'refusal') return
    const { receiver, operation, masked } = facts
    const caller = principalOf(facts['caller'])
    const isOwn = caller !== null && caller === principalOf(facts['producer'])
    if (caller === null || (!isOwn && facts['attested.request'] !== 'caller')) return
    const agent = agentPrincipal(String(receiver), trustDomain)
    const found = { findings: countOf(masked, null), credentials: countOf(masked, 'credential') }
    if (kind === 'intent') {
      const sent = found.credentials
      open.set(exchange, { caller, receiver: agent, sent })
      const [oldest] = open.keys()
      if (open.size > openMax && oldest !== undefined) open.delete(oldest)
    }
    const bytes = sizeOf(facts['request.bytes'])
    const exchanged = { at, caller, receiver: String(receiver) }
    if (!isOwn) {
      const told = { receivedBytes: bytes, claimed: found }
      const signed = { action: 'call', outcome: 'permitted', bytes: 0, findings: 0 } as const
      detection.observe({ ...exchanged, ...signed, ...told })
      return
    }
    const byOthers = isDismissed(exchanged.receiver)
    const cause = kind === 'refusal' ? causeOfDenial(facts, byOthers) : null
    const outcome = cause === 'caller' ? 'refused' : 'permitted'
    const isDeclined = cause === 'others'
    detection.observe({
      ...exchanged,
      ...{ action: `call:${String(operation)}`, outcome, isDeclined, bytes, ...found },
    })
  }
}

/** The principal that a fact names, whichever instance of it that is. */
function principalOf(value: FactValue | undefined): PrincipalKey | null {
  const id = typeof value === 'string' ? parseSpiffeId(value) : null
  return id === null
    ? null
    : principalKey({ kind: id.kind, issuer: id.trustDomain, subject: id.name })
}

/** A refusal with a result came after delivery: the receiver could state denials of any caller. */
function causeOfDenial({ code, result }: EntryDraft['facts'], byOthers: boolean): Cause {
  return result === undefined ? causeOf(code, { kind: 'agent', byOthers }) : null
}

interface OpenExchange {
  readonly caller: PrincipalKey
  readonly receiver: PrincipalKey
  /** Credentials in the request, which a response may echo. */
  readonly sent: number
}

/** The response is the act of the receiver, whose own connector reports it. */
function observeResponse(
  detection: WatchedDetection,
  response: Pick<EntryDraft, 'at' | 'facts'> & OpenExchange,
): void {
  const { at, facts, caller, receiver, sent } = response
  const receivedBytes = sizeOf(facts['response.bytes'])
  if (receivedBytes > 0) {
    detection.observe({
      ...{ at, caller, receiver, action: 'receive', outcome: 'permitted', isResponse: true },
      ...{ messages: 0, bytes: 0, receivedBytes, findings: 0 },
    })
  }
  const leaked = countOf(facts['response.masked'], 'credential') - sent
  if (leaked > 0) detection.observe(leakOf({ at, agent: receiver, caller, leaked }))
}

const sizeOf = (value: FactValue | undefined): number => (typeof value === 'number' ? value : 0)

/** Of `card:1 credential:2`, as a `masked` fact has it; all of them without a class. */
function countOf(masked: FactValue | undefined, only: string | null): number {
  const counts = typeof masked === 'string' ? [...masked.matchAll(/(\w+):(\d+)/g)] : []
  return counts
    .filter(([, dataClass]) => only === null || dataClass === only)
    .reduce((sum, [, , found]) => sum + Number(found), 0)
}
