import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createExchangeId, loopbackHostnames, type SignedMessage } from '@countersign/protocol'
import { type ConnectionLimits, guardConnections } from '@countersign/protocol/tls'
import { admitCaller } from '../../budgets/admission.ts'
import type { BodyBudget, BodyShare } from '../../budgets/body-budget.ts'
import { createDeadline, type Deadline } from '../../budgets/deadline.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/random.ts'
import { Refusal, StatedRefusal, undecided } from '../../lib/refusal.ts'
import { admitHead } from '../../pipeline/admit.ts'
import type { Authorized } from '../../pipeline/authorize.ts'
import { admitControl } from '../../pipeline/control.ts'
import { declinedBy, refusalOf, Undelivered, withheld } from '../../pipeline/delivery.ts'
import type { IntendedEnding } from '../../pipeline/ending.ts'
import type { PipelineDeps } from '../../pipeline/enforce.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import { accountOfAnswer } from '../../pipeline/large-bodies.ts'
import { recheck } from '../../pipeline/recheck.ts'
import {
  recordRefusal,
  recordStreamEnd,
  refusalOfFailure,
  unrecordedAs,
} from '../../pipeline/record.ts'
import { createUncheckedRequest, type UncheckedRequest } from '../../pipeline/unchecked-request.ts'
import type { ReadKind } from '../../protocols/a2a/card-content.ts'
import type { Classify } from '../../protocols/classify.ts'
import { statedRefusal } from '../../protocols/http/stated-refusal.ts'
import { type Head } from '../../protocols/reading/head.ts'
import type { Spoken } from '../../protocols/spoken.ts'
import type { Balancer } from '../../routes/balancer.ts'
import { leadsTo, reliabilityOf } from '../../routes/routes.ts'
import type { BalancedResponse, Endpoint, UpstreamRequest } from '../../routes/upstream.ts'
import { ArrivingBody } from '../http/arriving-body.ts'
import { refusalEvent, refusalReply, spokenBy, terminalEvents } from '../http/call.ts'
import { deadlinePassed } from '../http/caller-deadline.ts'
import { evicted, undelivered } from '../http/forwarder.ts'
import {
  isUnparsed,
  type NodeRequest,
  type ReceivedRequest,
  receiveRequest,
} from '../http/received-request.ts'
import { leavingSignal, type NodeResponse, type Reply, writeReply } from '../http/respond.ts'
import { refuseTunnels } from '../http/tunnels.ts'
import { connectorHeadLimits, headOptions, refuseUnparsed } from '../http/unparsed.ts'
import type { ConnectorAgent } from './connector-agent.ts'
import { connectorAnswers, connectorBudget } from './connector-budget.ts'
import { type Listener, listen } from './inbound.ts'
import { type Answer, type OutboundRoute, readAnswer, receiverOf } from './outbound-answer.ts'
import { OutboundCopies } from './outbound-copies.ts'
import {
  type OutboundRequest,
  readOutbound,
  signOutbound,
  uncheckedOutbound,
} from './outbound-request.ts'
import { outboundEvents, type ReportedRefusal } from './outbound-stream.ts'
import { MESH_WIRE } from './wire.ts'

export type { OutboundRoute } from './outbound-answer.ts'

export interface OutboundOptions {
  readonly agent: ConnectorAgent
  readonly deps: PipelineDeps
  readonly upstream: Balancer
  readonly classify: Classify
  readonly readKind: ReadKind
  /** Returns the route to `name` from here: its own connectors, or the gateway when it has none. */
  findRoute(name: string): OutboundRoute | null
  /** Returns the route over the gateway, which alone verifies for whom a caller acts. */
  viaGateway(name: string): OutboundRoute
  /** Loopback only: any client that can reach this address acts as the agent. */
  readonly host: string
  readonly port: number
  /** Collects every signature that is made here, so that it is not computed again. */
  readonly made: WeakSet<SignedMessage>
  readonly bodyBytesMax: number
  /** Until an answer begins, and until its end if it is not a stream. */
  readonly timeoutMs: number
  /** Maximum duration of a stream. */
  readonly streamMs: number
  readonly connectionsMax: number
  /** Overrides of the defaults. */
  readonly responseLimits?: Partial<ConnectionLimits>
  /** Returns the log slot of the fabric that records, for the ids of exchanges. */
  slot(): string
  readonly clock: Clock
  readonly random: Random
}

/**
 * The caller's side of the mesh: a plain address on loopback, `/<agent>/<path>`, through which an
 * agent that knows nothing of us calls others by name, with its own identity and signature.
 */
export async function openOutbound(options: OutboundOptions): Promise<Listener> {
  if (!loopbackHostnames.has(options.host)) {
    throw new Error(`a connector listens on loopback only, not on ${options.host}`)
  }
  const server = createServer({
    ...headOptions(connectorHeadLimits),
  })
  server.maxConnections = options.connectionsMax
  const begin = (signal: AbortSignal): OutboundCall => {
    const at = options.clock.now()
    return { at, exchange: createExchangeId(options.slot(), at, options.random(10)), signal }
  }
  const refuseOn = async (_: unknown, refusal: Refusal) => {
    const call = begin(AbortSignal.abort())
    return replyTo(await refuse(options, call, refusal), call)
  }
  refuseUnparsed(server, connectorHeadLimits, refuseOn)
  refuseTunnels(server, refuseOn)
  const handle = (request: NodeRequest, response: NodeResponse): void => {
    const call = begin(leavingSignal(response))
    serve(
      { ...options, port, bodies, answers },
      request as IncomingMessage,
      response as ServerResponse,
      call,
    ).catch(() => response.destroy())
  }
  const connections = guardConnections(server, {
    ...(options.responseLimits === undefined ? {} : { limits: options.responseLimits }),
    handle,
  })
  const bodies = connectorBudget(options.bodyBytesMax, options.clock)
  const parts = { receiverPart: 1 / 2, callerPart: 1 }
  const answers = connectorAnswers(parts, options.bodyBytesMax, options.clock)
  const port = await listen(server, options)
  return {
    port,
    close: (graceMs) => connections.close(graceMs),
  }
}

export interface OutboundCall {
  readonly at: number
  readonly exchange: UncheckedRequest['id']
  readonly signal: AbortSignal
}

interface Serving extends OutboundOptions {
  readonly bodies: BodyBudget
  readonly answers: BodyBudget
}

async function serve(
  serving: Serving,
  request: IncomingMessage,
  response: ServerResponse,
  call: OutboundCall,
): Promise<void> {
  const body = new ArrivingBody(request)
  const { agent, bodies: budget, bodyBytesMax, deps } = serving
  const received = await receiveRequest(request, body, {
    present: (_, head) => presentOwn(serving, head),
    // The agent's own standing: in quarantine it may not fill its connector either.
    admit: ({ presented }) =>
      admitHead(deps, { presented, transport: 'mesh' }, (identified) =>
        admitCaller(identified, { budget, bodyBytesMax, address: agent.name }),
      ),
  })
  try {
    // Rejects only before anything is sent.
    const reply = await carry(serving, call, received).catch((cause: unknown) =>
      replyTo(undecided(cause), call),
    )
    if (isUnparsed(received) && body.endsConnection) response.setHeader('connection', 'close')
    await writeReply(response, reply)
  } finally {
    if (!(received instanceof Refusal)) received.release()
  }
}

/**
 * Web pages can reach loopback too: by a name that resolves to it, or by a cross-origin request.
 */
function presentOwn({ agent }: OutboundOptions, head: Head) {
  const name = head.authority.replace(/:\d+$/, '')
  const isPage = head.headers.has('origin') || head.headers.has('sec-fetch-site')
  if (!loopbackHostnames.has(name) || isPage) {
    return new Refusal('CREDENTIAL_REJECTED', 'only local programs may speak as this agent')
  }
  return presentedBy(agent)
}

function presentedBy(agent: ConnectorAgent): ReceivedRequest['presented'] {
  return { certificateChain: agent.credential().certificateChain, bearer: null, apiKey: null }
}

async function carry(
  options: Serving,
  call: OutboundCall,
  received: ReceivedRequest | Refusal,
): Promise<Reply> {
  const order = received instanceof Refusal ? received : await readOutbound(options, received)
  if (received instanceof Refusal || order instanceof Refusal) {
    const fault = order as Refusal
    return replyTo(await refuse(options, call, fault), call, unnamed(received, fault))
  }
  const spoken = spokenBy(received, order.classified)
  const signature = signOutbound(options, call, received, order)
  const unchecked = uncheckedOutbound(call, received, order, signature)
  const admitted = await admit(options, unchecked)
  if (admitted instanceof Refusal) return replyTo(admitted, call, spoken)
  const still = () => recheck(admitted, options.deps.authorization)
  const { caller } = admitted
  const refused = async (refusal: Refusal) => {
    const unrecorded = await recordRefusal(unchecked, refusal, caller, options.deps).then(
      () => null,
      (cause: unknown) => unrecordedAs(refusal, cause),
    )
    return replyTo(unrecorded ?? refusal, call, spoken)
  }
  received.begun()
  const copies = new OutboundCopies(order, signature, () =>
    signOutbound(options, { ...call, at: options.clock.now() }, received, order),
  )
  const sent = { body: received.body, still }
  const asked = await ask(options, sent, { order, admitted, copies, signal: call.signal })
  if (asked instanceof Undelivered) {
    const refusal = refusalOf(asked)
    // A reason known here takes precedence over the one that the receiver states.
    return refused(refusal instanceof StatedRefusal ? (still() ?? refusal) : refusal)
  }
  const { answer, response, deadline, share } = asked
  // The answer took its time: what the agent gets is decided after it, not before.
  const lost = still()
  if (lost !== null) {
    response.discard()
    deadline.end()
    share.close()
    return refused(lost)
  }
  if (answer.body instanceof Uint8Array) {
    deadline.end()
    share.close()
    return { ...answer, body: answer.body, still }
  }
  deadline.allow(options.streamMs)
  return streamed(options, { ...asked, admitted, unchecked, order }, call)
}

interface Asked {
  readonly answer: Answer
  readonly response: BalancedResponse
  /** Still running: it ends with the body. */
  readonly deadline: Deadline
  readonly share: BodyShare
}

/**
 * Sends the call, and reads and checks what comes back. Never rejects: the request may have left.
 */
async function ask(
  options: Serving,
  request: Pick<UpstreamRequest, 'body' | 'still'>,
  asking: {
    readonly order: OutboundRequest
    readonly admitted: Exchange<Authorized>
    readonly copies: OutboundCopies
    readonly signal: AbortSignal
  },
): Promise<Asked | Undelivered> {
  const { order, admitted, copies, signal } = asking
  const { route, classified } = order
  const share = options.answers.admit(route.name, options.agent.name)
  if (share instanceof Refusal) return declinedBy(share)
  const { callerDeadline } = order
  const ownMs = Math.min(options.timeoutMs, reliabilityOf(route).timeouts.exchangeMs)
  const deadline = createDeadline(signal, ownMs, callerDeadline)
  share.onEvicted((refusal) => deadline.fail(evicted(refusal)))
  const failed = (failure: Undelivered): Undelivered => {
    deadline.end()
    share.close()
    return failure
  }
  if (callerDeadline?.leftMs() === 0) return failed(declinedBy(deadlinePassed()))
  try {
    const sent = {
      ...copies.last.request,
      ...request,
      headersOf: copies.headersOf,
      isRepeatable: copies.isRepeatable,
      signal: deadline.signal,
      account: share,
      // The gateway finds the way from there itself, whatever became of it.
      leadsTo: (endpoint: Endpoint) =>
        route.prefix !== '' || leadsTo(options.findRoute(order.name), route, endpoint),
    }
    const response = await options.upstream.request(route, sent)
    // From here on, the receiver's word is its own; the gateway's is the fabric's.
    const stated =
      route.prefix === ''
        ? statedRefusal(response, receiverOf(options.agent, route.name))
        : refusedCopy(response)
    if (stated !== null) {
      response.discard()
      return failed(stated)
    }
    const { request: answeredCopy, signed } = copies.last
    const answered = { route, classified, admitted, signature: signed.signature }
    const received = { response, request: answeredCopy, share }
    const answer = await readAnswer(options, received, answered)
    if (answer instanceof Refusal) return failed(withheld(answer))
    return { answer, response, deadline, share }
  } catch (cause) {
    return failed(undelivered(cause))
  }
}

/**
 * The gateway refused the second copy of a request, as a replay or for any other reason: the first
 * had left, and may be done.
 */
function refusedCopy(response: BalancedResponse): Undelivered | null {
  const { headers, attempts, isSecondCopy } = response
  const code = headers.find(([name]) => name.toLowerCase() === 'countersign-refusal')?.[1]
  if (!isSecondCopy || code === undefined) return null
  const detail = `the first copy was sent, and the second refused: ${code}`
  return new Undelivered({ progress: 'sent', detail }, attempts)
}

interface Streamed extends Asked {
  readonly admitted: Exchange<Authorized>
  readonly unchecked: UncheckedRequest
  readonly order: OutboundRequest
}

function streamed(
  { agent, deps, readKind }: OutboundOptions,
  { answer, response, share, admitted, unchecked, order, deadline }: Streamed,
  { exchange }: OutboundCall,
): Reply {
  let told: ReportedRefusal | null = null
  const isFromFabric = order.route.prefix !== ''
  const { caller } = admitted
  const record = (ending: IntendedEnding) => recordStreamEnd(unchecked, ending, caller, deps)
  const ended = () => {
    deadline.end()
    share.close()
  }
  const fail = (refusal: Refusal) => deadline.fail(evicted(refusal))
  const receiver = isFromFabric ? null : receiverOf(agent, order.name)
  const account = accountOfAnswer(admitted)
  const source = { readKind, route: order.route, account }
  const stream = { deps, admitted, response, share, fail, receiver, record, ended, source }
  const events = outboundEvents(stream, (given) => {
    told = given
  })
  const wireOf = ({ code }: Refusal) => MESH_WIRE[code]
  const given = answer.headers.find(([name]) => name === 'countersign-exchange')?.[1]
  return {
    status: answer.status,
    headers: answer.headers,
    body: {
      events,
      // The gateway has already sent it to its JSON-RPC client. The receiver's own statements, and
      // any JSON-RPC error before it, are the receiver's word: ours comes last, under our own
      // exchange.
      terminalEventsFor: (refusal) =>
        told !== null && isFromFabric
          ? [refusalEvent(refusal, { exchange: given ?? exchange, wireOf })]
          : terminalEvents(refusal, { exchange, wireOf }, order.classified),
    },
  }
}

/** Records a request that did not even reach policy, and returns the refusal for the caller. */
async function refuse(
  options: OutboundOptions,
  call: OutboundCall,
  fault: Refusal,
): Promise<Refusal> {
  const unparsed = { protocol: 'http', operation: 'unread' } as const
  const unchecked = createUncheckedRequest({
    ...{ id: call.exchange, at: call.at, transport: 'mesh', fault },
    presented: presentedBy(options.agent),
    target: { kind: 'agent', name: 'unknown', action: 'call', ...unparsed },
  })
  const answer = await admit(options, unchecked)
  return answer instanceof Refusal ? answer : fault
}

/** Policy is asked on the caller's side too; what it refuses is recorded under the caller. */
function admit(
  options: OutboundOptions,
  unchecked: UncheckedRequest,
): Promise<Exchange<Authorized> | Refusal> {
  return admitControl(options.deps, unchecked).catch(refusalOfFailure)
}

function replyTo(refusal: Refusal, { exchange }: OutboundCall, spoken?: Spoken): Reply {
  return refusalReply(refusal, { exchange, wireOf: ({ code }) => MESH_WIRE[code] }, spoken)
}

/** The reply format for a request of which no operation was read. */
function unnamed(received: ReceivedRequest | Refusal, { rpcId }: Refusal): Spoken | undefined {
  return received instanceof Refusal ? undefined : spokenBy(received, { rpcId, protocol: 'http' })
}
