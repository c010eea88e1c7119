import {
  type ExchangeId,
  formatApprovalField,
  formatHolderField,
  REFUSALS,
  utf8,
  WITHDRAWALS,
} from '@countersign/protocol'
import { Refusal, StatedRefusal, Withdrawal } from '../../lib/refusal.ts'
import { QuotaRefusal } from '../../pipeline/authorize.ts'
import type { Forwarder, StreamEvent } from '../../pipeline/delivery.ts'
import { enforce, type Outcome, type PipelineDeps } from '../../pipeline/enforce.ts'
import type { Quota } from '../../pipeline/quota.ts'
import { mayReachTask } from '../../pipeline/recheck.ts'
import {
  createUncheckedRequest,
  type Transport,
  type UncheckedRequest,
} from '../../pipeline/unchecked-request.ts'
import { type ReachedOwners, reachedOwners } from '../../protocols/a2a/reached-owners.ts'
import { type TaskOwners, withTasks } from '../../protocols/a2a/task-guard.ts'
import { noTasks } from '../../protocols/a2a/task-ids.ts'
import type { TaskReader } from '../../protocols/a2a/task-reader.ts'
import type { Classified, Classify } from '../../protocols/classify.ts'
import { type McpSessions, withSessions } from '../../protocols/mcp/mcp-sessions.ts'
import { forwardedHeaders } from '../../protocols/reading/head.ts'
import { plainHttp, type Spoken, spokenWire, type Wire } from '../../protocols/spoken.ts'
import { readCallerDeadline } from './caller-deadline.ts'
import { type CallForwarderOptions, callForwarder } from './forwarder.ts'
import { headIn, type ReceivedRequest } from './received-request.ts'
import type { Reply } from './respond.ts'

export interface Call {
  readonly exchange: ExchangeId
  /** As in `UncheckedRequest`. */
  readonly boundExchange?: (signature: Uint8Array) => ExchangeId
  readonly at: number
  readonly transport: Transport
  readonly received: ReceivedRequest
  /** Path and query under the route, starting with a slash. */
  readonly path: string
  readonly forwarder: CallForwarderOptions
  readonly sessions: McpSessions
  readonly tasks: TaskOwners
  readonly classify: Classify
  readonly taskReader: TaskReader
  /** Wraps the forwarder for the transport; absent if it adds nothing. */
  readonly wrap?: (forwarder: Forwarder) => Forwarder
  wireOf(refusal: Refusal): Wire
}

/** Decodes a call to an agent, enforces, encodes the outcome. */
export async function answerCall(deps: PipelineDeps, call: Call): Promise<Reply> {
  const inRoute = call.path.split('?', 1)[0] ?? ''
  const callerDeadline = readCallerDeadline(call.received.head)
  const untimely = callerDeadline instanceof Refusal ? callerDeadline : null
  const faultOfRoute = call.received.isFaultOfRoute === true ? call.received.fault : null
  const faultOfHead = faultOfRoute === null ? call.received.fault : null
  const unfit = call.received.refused ?? faultOfHead ?? untimely
  const unread = unfit ?? unreadIds(call)
  const unparsed = unread instanceof Promise ? await unread : unread
  // Policy is asked about a stream as about any that a route carries.
  const protocol = faultOfRoute === null ? call.forwarder.route.protocol : 'http'
  const known = [call.tasks.known, call.sessions.known]
  const read = unparsed ?? (await call.classify(call.received, inRoute, protocol, known))
  // A request that could not be read is still an exchange: identified, refused, recorded.
  const fault = read instanceof Refusal ? read : null
  const classified = read instanceof Refusal ? { ...unclassified, rpcId: read.rpcId } : read
  const { name } = call.forwarder.route
  const reached = reachedOwners(call.tasks.tasks, name, classified.tasks)
  const unchecked = toUnchecked(call, { classified, reached }, { fault, faultOfRoute })
  const carrier = callForwarder({
    ...call.forwarder,
    callerDeadline: callerDeadline instanceof Refusal ? null : callerDeadline,
  })
  const carry: Forwarder = (exchange, still) => {
    // The intent is on record, so that its caller has a place among its open exchanges.
    call.received.begun()
    return carrier.carry(exchange, still)
  }
  const guarded = withTasks(carry, {
    owners: call.tasks,
    references: classified.tasks,
    reached,
    ownsEvents: call.forwarder.route.protocol !== 'http',
    reader: call.taskReader,
    mayReach: (asking, owner) => mayReachTask(asking, owner, deps.authorization),
  })
  const sessioned = withSessions(guarded, call.sessions, classified.tasks)
  const forwarder = call.wrap?.(sessioned) ?? sessioned
  // Behind policy and the caller's allowance, since reading costs more than deciding.
  const check = (): Forwarder | Promise<Forwarder> => {
    const loading = reached?.load() ?? null
    return loading === null ? forwarder : loading.then(() => forwarder)
  }
  let outcome: Outcome
  try {
    outcome = await enforce(deps, unchecked, { check })
  } catch (cause) {
    carrier.close()
    throw cause
  }
  // From here on, the bytes of a whole answer are among those that their caller has yet to take.
  if (outcome.refusal !== null || outcome.body instanceof Uint8Array) carrier.close()
  const { id } = outcome
  const recorded = id === call.exchange ? call : { ...call, exchange: id }
  return outcome.refusal === null
    ? answerReply(outcome, recorded, classified)
    : refusalReply(outcome.refusal, recorded, spokenBy(call.received, classified))
}

/** Null where the ids of all callers are known, as far as they were on record a moment ago. */
function unreadIds({ tasks, sessions }: Call): Promise<Refusal | null> | null {
  const [ofTasks, ofSessions] = [tasks.current(), sessions.current()]
  // As nearly always: nothing is waited for.
  if (ofTasks === null && ofSessions === null) return null
  return Promise.all([ofTasks, ofSessions]).then(
    () => null,
    (cause: unknown) => new Refusal('UNDECIDED', `owners could not be read: ${String(cause)}`),
  )
}

export function spokenBy({ head }: ReceivedRequest, { rpcId, protocol }: Named): Spoken {
  return { rpcId, protocol, isInSession: head.headers.has('mcp-session-id') }
}

type Named = Pick<Classified, 'rpcId' | 'protocol'>

const unclassified: Classified = {
  protocol: 'http',
  operation: 'unread',
  tool: '',
  rpcId: undefined,
  tasks: noTasks,
}

function toUnchecked(
  call: Call,
  { classified, reached }: { classified: Classified; reached: ReachedOwners | null },
  faults: Pick<UncheckedRequest, 'fault' | 'faultOfRoute'>,
): UncheckedRequest {
  const { received } = call
  const { head, frames, presented, signature } = received
  return createUncheckedRequest({
    id: call.exchange,
    ...(call.boundExchange === undefined ? {} : { boundExchange: call.boundExchange }),
    at: call.at,
    transport: call.transport,
    presented,
    head: headIn(call.received),
    ...faults,
    signature,
    left: call.forwarder.signal,
    target: {
      kind: 'agent',
      name: call.forwarder.route.name,
      action: 'call',
      protocol: classified.protocol,
      operation: classified.operation,
      tool: classified.tool,
      ...(reached === null ? {} : { foreignOwners: reached }),
    },
    received: {
      method: head.method,
      path: call.path,
      headers: forwardedHeaders(head),
      contentType: head.headers.get('content-type') ?? '',
      // The first frame of a stream goes once it was forwarded.
      get body() {
        return received.body
      },
      ...(frames === undefined ? {} : { frames }),
    },
  })
}

function answerReply(
  { answer, body, still }: Extract<Outcome, { refusal: null }>,
  call: Call,
  classified: Classified,
): Reply {
  const headers = [
    ...answer.headers,
    ...exchangeHeaders(call.exchange),
    ...quotaHeaders(answer.quota),
  ]
  if (body instanceof Uint8Array) {
    // A masked body does not match its digest and signature any more; the receipt states both.
    const kept = answer.masked ? headers.filter(([name]) => !ofBody.has(name)) : headers
    return { status: answer.status, headers: kept, body, still }
  }
  const terminalEventsFor = (refusal: Refusal) => terminalEvents(refusal, call, classified)
  const { codec } = answer
  const events = { events: body, terminalEventsFor }
  return { status: answer.status, headers, body: codec === null ? events : { ...events, codec } }
}

const ofBody: ReadonlySet<string> = new Set([
  'content-digest',
  'etag',
  'signature',
  'signature-input',
])

/** The context for the wording of a refusal: an exchange, and a transport. */
interface Refused extends Pick<Call, 'wireOf'> {
  readonly exchange: string
}

/** Problem Details where the request was not a JSON-RPC call, or none that could be read. */
export function refusalReply(refusal: Refusal, call: Refused, spoken: Spoken = plainHttp): Reply {
  const { status } = spokenWire(refusal, call.wireOf(refusal), spoken)
  const headers: [string, string][] = [
    ...exchangeHeaders(call.exchange),
    ...refusalHeaders(refusal),
    ['cache-control', 'no-store'],
  ]
  headers.push(...quotaHeadersOf(refusal))
  if (spoken.rpcId !== undefined) {
    headers.push(['content-type', 'application/json'])
    return { status, headers, body: utf8(rpcError(refusal, call, spoken)), refusal }
  }
  headers.push(['content-type', 'application/problem+json'])
  return { status, headers, body: utf8(problem(refusal, call.exchange, status)), refusal }
}

/**
 * The members that a client needs to decide whether to send again, also one without a table of the
 * codes.
 */
function again(refusal: Refusal) {
  const { code, mayHaveActed } = refusal
  const retry = REFUSALS[code].retry && !mayHaveActed
  if (!(refusal instanceof StatedRefusal)) return { code, retry, mayHaveActed }
  return { code, retry, mayHaveActed, statedBy: refusal.statedBy }
}

/**
 * Problem Details (RFC 9457). The sentence is the fixed one; the detail is for the ledger alone.
 */
function problem(refusal: Refusal, exchange: string, status: number): string {
  const { says } = REFUSALS[refusal.code]
  const ended = withdrawalMembers(refusal)
  const type = `urn:countersign:refusal:${refusal.code.toLowerCase().replaceAll('_', '-')}`
  return JSON.stringify({
    ...{ type, title: says, status, ...again(refusal), exchange },
    ...limitMember(refusal),
    ...approvalMember(refusal),
    ...holderMember(refusal),
    ...ended,
  })
}

/** Absent unless a limit was reached: most refusals have none. */
function limitMember({ limit }: Refusal): { readonly limit?: string } {
  return limit === null ? {} : { limit }
}

/** The approval that the caller waits for, or was denied, and when that ends. */
function approvalMember({ approval }: Refusal): object {
  if (approval === null) return {}
  const { id, expiresAt } = approval
  return { approval: { id, expiresAt: new Date(expiresAt).toISOString() } }
}

/** The replica to ask instead. */
function holderMember({ holder }: Refusal): object {
  return holder === null ? {} : { holder }
}

/** The code and what qualifies it, where only the head of a response is believed. */
function refusalHeaders(refusal: Refusal): [string, string][] {
  const headers: [string, string][] = [
    ['countersign-refusal', refusal.code],
    ['countersign-may-have-acted', String(refusal.mayHaveActed)],
  ]
  if (refusal instanceof Withdrawal) headers.push(['countersign-withdrawal', refusal.reason])
  if (refusal instanceof StatedRefusal) headers.push(['countersign-stated-by', refusal.statedBy])
  if (refusal.approval !== null) {
    headers.push(['countersign-approval', formatApprovalField(refusal.approval)])
  }
  if (refusal.holder !== null) {
    headers.push(['countersign-holder', formatHolderField(refusal.holder)])
  }
  return headers
}

/**
 * The members for the reason why a right ended, and whether its holder may begin again: with a
 * newer credential, for example.
 */
function withdrawalMembers(refusal: Refusal): object {
  if (!(refusal instanceof Withdrawal)) return {}
  const { reason } = refusal
  return { reason, reconnect: WITHDRAWALS[reason].reconnect }
}

function rpcError(refusal: Refusal, call: Refused, spoken: Spoken): string {
  const { says } = REFUSALS[refusal.code]
  const ended = {
    ...limitMember(refusal),
    ...approvalMember(refusal),
    ...withdrawalMembers(refusal),
  }
  const data = { ...again(refusal), exchange: call.exchange, ...ended }
  const { jsonRpc } = spokenWire(refusal, call.wireOf(refusal), spoken)
  const error = { code: jsonRpc, message: says, data }
  return JSON.stringify({ jsonrpc: '2.0', id: spoken.rpcId ?? null, error })
}

/**
 * The end of a stream that was cut. A JSON-RPC client is given an error that it understands, which
 * a receiver could have written as well; the event after it can come from the fabric alone.
 */
export function terminalEvents(refusal: Refusal, call: Refused, named: Named): StreamEvent[] {
  const marked = refusalEvent(refusal, call)
  if (named.rpcId === undefined) return [marked]
  const error = utf8(rpcError(refusal, call, { ...named, isInSession: false }))
  return [{ data: error, contentType: 'application/json', frame: [] }, marked]
}

/** No event of a receiver gets past inspection under this name. */
export function refusalEvent(refusal: Refusal, call: Refused): StreamEvent {
  const { status } = spokenWire(refusal, call.wireOf(refusal), plainHttp)
  return {
    data: utf8(problem(refusal, call.exchange, status)),
    contentType: 'application/json',
    frame: [['event', 'countersign-refusal']],
  }
}

export function exchangeHeaders(exchange: string): [string, string][] {
  return [
    ['countersign-exchange', exchange],
    ['countersign-receipt', `/v1/receipts/${exchange}`],
  ]
}

/** The headers for when to come back, which limit was reached, and the allowance, where known. */
function quotaHeadersOf(refusal: Refusal): [string, string][] {
  const headers: [string, string][] = []
  // Clients send again by it; the code implies the same, and this check covers a client that
  // ignores the code.
  if (refusal.retryAfterMs !== null && !refusal.mayHaveActed) {
    headers.push(['retry-after', String(Math.ceil(refusal.retryAfterMs / 1000))])
  }
  if (refusal.limit !== null) headers.push(['countersign-limit', refusal.limit])
  if (refusal instanceof QuotaRefusal) headers.push(...quotaHeaders(refusal.quota))
  return headers
}

/** draft-ietf-httpapi-ratelimit-headers: what is left and when the window ends, in seconds. */
export function quotaHeaders(quota: Quota): [string, string][] {
  const reset = Math.ceil(quota.resetMs / 1000)
  return [
    ['ratelimit-policy', `"agent-route";q=${quota.limit};w=60`],
    ['ratelimit', `"agent-route";r=${quota.remaining};t=${reset}`],
  ]
}
