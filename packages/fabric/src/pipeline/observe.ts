import type { PrincipalKey, RefusalCode } from '@countersign/protocol'
import type { Detection, Observation } from '../detection/detector.ts'
import { agentPrincipal } from '../identity/principals.ts'
import type { Finding } from '../redaction/redactor.ts'
import type { UncheckedRequest } from './unchecked-request.ts'

/**
 * Refusals that the caller alone causes, by requests that it is not entitled to make. A receiver
 * that is down or broken, a full ledger or a withdrawn right is not evidence about the caller.
 */
const BY_CALLER: ReadonlySet<unknown> = new Set<RefusalCode>([
  'SIGNATURE_MISSING',
  'SIGNATURE_REJECTED',
  'MESSAGE_REPLAYED',
  'CONTENT_BLOCKED',
  'NOT_PERMITTED',
  'APPROVAL_REQUIRED',
])

/**
 * Refusals of names and ids that a caller may have received from the receiver: of a task, a
 * session, an event, a tool, a path, an operation. They do not raise the caller's risk when the
 * receiver is an agent: one that hands out a refused id, or gave it to an accomplice first, would
 * raise the risk of any agent that uses it.
 */
const BY_NAMES: ReadonlySet<unknown> = new Set<RefusalCode>([
  'MESSAGE_MALFORMED',
  'OPERATION_UNKNOWN',
  'RECEIVER_UNKNOWN',
])

export type Cause = 'caller' | 'others' | null

/**
 * Returns who can have caused a refusal for `target`; null if the refusal is not evidence about
 * either side.
 */
export function causeOf(
  code: unknown,
  target: { readonly kind: 'agent' | 'channel' | 'fabric'; readonly byOthers: boolean },
): Cause {
  const isNamed = BY_NAMES.has(code)
  if (!isNamed && !BY_CALLER.has(code)) return null
  // Channels are the operator's: no agent names or removes one.
  return target.byOthers || (isNamed && target.kind === 'agent') ? 'others' : 'caller'
}

export interface Seen {
  readonly caller: PrincipalKey
  /**
   * Of the refusal that ended the exchange; null where there was none, or the receiver ended it.
   */
  readonly code: RefusalCode | null
  /** As the refusal has it. */
  readonly byOthers: boolean
  /** In the request, and in the response. */
  readonly findings: readonly Finding[]
  readonly responseFindings: readonly Finding[]
  readonly responseBytes: number
  /** Of a streamed request: all that was forwarded of it, by what came in. */
  readonly bytes?: number
}

interface ObserveDeps {
  readonly detection: Pick<Detection, 'observe'>
  readonly trustDomain: string
}

/** Shows detection one exchange, and its response as an act of the receiver. */
export function observeExchange(
  { detection, trustDomain }: ObserveDeps,
  exchange: Pick<UncheckedRequest, 'target' | 'at' | 'received'>,
  seen: Seen,
): void {
  const { target, at, received } = exchange
  const cause = causeOf(seen.code, { kind: target.kind, byOthers: seen.byOthers })
  // Administration is not traffic between agents. A busy operator is not a risk; an agent that
  // tries to administer and is denied is one.
  if (target.kind === 'fabric' && seen.code !== 'NOT_PERMITTED') return
  const sent = credentialsIn(seen.findings)
  detection.observe({
    at,
    caller: seen.caller,
    receiver: target.name,
    action: `${target.action}:${target.operation}`,
    outcome: cause === 'caller' ? 'refused' : 'permitted',
    isDeclined: cause === 'others',
    // Of what a channel delivers, the senders decide how much and how often.
    messages: target.action === 'consume' ? 0 : 1,
    bytes: seen.bytes ?? received.body.length,
    receivedBytes: seen.responseBytes,
    findings: seen.findings.length,
    credentials: sent,
  })
  // An echo of what the caller sent is the caller's doing.
  const leaked = credentialsIn(seen.responseFindings) - sent
  if (target.kind === 'agent' && leaked > 0) {
    const agent = agentPrincipal(target.name, trustDomain)
    detection.observe(leakOf({ at, agent, caller: seen.caller, leaked }))
  }
}

/** Credentials in a response, as an observation of the agent that sent them. */
export function leakOf(leak: {
  readonly at: number
  readonly agent: PrincipalKey
  readonly caller: PrincipalKey
  readonly leaked: number
}): Observation {
  const { at, agent, caller, leaked } = leak
  return {
    ...{ at, caller: agent, receiver: caller, action: 'answer', outcome: 'permitted' },
    ...{ messages: 0, bytes: 0, receivedBytes: 0, findings: 0, credentials: 0, leaked },
  }
}

function credentialsIn(findings: readonly Finding[]): number {
  return findings.filter(({ dataClass }) => dataClass === 'credential').length
}
