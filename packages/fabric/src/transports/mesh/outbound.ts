import { createExchangeId, loopbackHostnames } from '@countersign/protocol'
import type { ConnectionLimits } from '@countersign/protocol/tls'
import { admitCaller } from '../../budgets/admission.ts'
import type { BodyBudget } from '../../budgets/body-budget.ts'
import { OpenStreams } from '../../budgets/open-streams.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/random.ts'
import { Refusal, StatedRefusal, undecided } from '../../lib/refusal.ts'
import { evicted } from '../../lib/upstream-error.ts'
import { admitHead } from '../../pipeline/admit.ts'
import type { Authorized } from '../../pipeline/authorize.ts'
import { admitControl } from '../../pipeline/control.ts'
import { refusalOf, Undelivered } from '../../pipeline/delivery.ts'
import { type IntendedEnding, undeliveredEnding } from '../../pipeline/ending.ts'
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
import { watchStatus } from '../../pipeline/status.ts'
import { createUncheckedRequest, type UncheckedRequest } from '../../pipeline/unchecked-request.ts'
import { asItCame, Upload } from '../../pipeline/upload.ts'
import type { ReadKind } from '../../protocols/a2a/card-content.ts'
import type { Classify } from '../../protocols/classify.ts'
import { type Head } from '../../protocols/reading/head.ts'
import type { Spoken } from '../../protocols/spoken.ts'
import type { Balancer } from '../../routes/balancer.ts'
import { reliabilityOf } from '../../routes/routes.ts'
import { ArrivingBody } from '../http/arriving-body.ts'
import { refusalEvent, refusalReply, spokenBy, terminalEvents } from '../http/call.ts'
import {
  hasFrames,
  isUnparsed,
  type NodeRequest,
  type ReceivedRequest,
  receiveRequest,
} from '../http/received-request.ts'
import { leavingSignal, type NodeResponse, type Reply, writeReply } from '../http/respond.ts'
import type { ConnectorAgent } from './connector-agent.ts'
import { connectorAnswers, connectorBudget } from './connector-budget.ts'
import { type Listener, listen } from './inbound.ts'
import { createLoopback } from './loopback-listener.ts'
import type { MessageSigner } from './message-signer.ts'
import { type OutboundRoute, receiverOf } from './outbound-answer.ts'
import { OutboundCopies } from './outbound-copies.ts'
import {
  type OutboundRequest,
  readOutbound,
  signFirstOutbound,
  signOutbound,
  streamOfOutbound,
  uncheckedOutbound,
} from './outbound-request.ts'
import { type Asked, ask } from './outbound-send.ts'
import { outboundEvents, type ReportedRefusal } from './outbound-stream.ts'
import { MESH_WIRE } from './wire.ts'

export type { OutboundRoute } from './outbound-answer.ts'
export type { Serving }

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
  readonly signer: MessageSigner
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
  const begin = (signal: AbortSignal): OutboundCall => {
    const at = options.clock.now()
    return { at, exchange: createExchangeId(options.slot(), at, options.random(10)), signal }
  }
  const refuseOn = async (_: unknown, refusal: Refusal) => {
    const call = begin(AbortSignal.abort())
    return replyTo(await refuse(options, call, refusal), call)
  }
  const handle = (request: NodeRequest, response: NodeResponse): void => {
    const call = begin(leavingSignal(response))
    const serving = { ...options, port, bodies, answers, places }
    serve(serving, request, response, call).catch(() => response.destroy())
  }
  const { server, close } = createLoopback({ ...options, handle, refuse: refuseOn })
  const bodies = connectorBudget(options.bodyBytesMax, options.clock)
  const places = new OpenStreams()
  const parts = { receiverPart: 1 / 2, callerPart: 1 }
  const answers = connectorAnswers(parts, options.bodyBytesMax, options.clock)
  const port = await listen(server, options)
  return { port, close }
}

export interface OutboundCall {
  readonly at: number
  readonly exchange: UncheckedRequest['id']
  readonly signal: AbortSignal
}

interface Serving extends OutboundOptions {
  readonly bodies: BodyBudget
  readonly answers: BodyBudget
  /** Of streamed requests. */
  readonly places: OpenStreams
}

async function serve(
  serving: Serving,
  request: NodeRequest,
  response: NodeResponse,
  call: OutboundCall,
): Promise<void> {
  const body = new ArrivingBody(request)
  const { agent, bodies: budget, bodyBytesMax, deps } = serving
  const received = await receiveRequest(request, body, {
    scheme: 'http',
    present: (_, head) => presentOwn(serving, head),
    // The agent's own standing: in quarantine it may not fill its connector either.
    admit: ({ presented }) =>
      admitHead(deps, { presented, transport: 'mesh' }, (identified) =>
        admitCaller(identified, { budget, bodyBytesMax, address: agent.name }),
      ),
    streamOf: (head) => streamOfOutbound(serving, head),
  })
  try {
    // Rejects only before anything is sent.
    const reply = await carry(serving, call, received).catch((cause: unknown) =>
      replyTo(undecided(cause), call),
    )
    const isUnread = isUnparsed(received) || hasFrames(received)
    const closes = isUnread && body.endsConnection
    await writeReply(response, closes ? { ...reply, closes } : reply)
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
  const signature = await signFirstOutbound(options, call, received, order)
  const unchecked = uncheckedOutbound(call, received, order, signature)
  const admitted = await admit(options, unchecked)
  if (admitted instanceof Refusal) return replyTo(admitted, call, spoken)
  const still = () => recheck(admitted, options.deps.authorization)
  const { caller } = admitted
  const refused = async (refusal: Refusal, ending: IntendedEnding | null = null) => {
    const recording =
      ending === null
        ? recordRefusal(unchecked, refusal, caller, options.deps)
        : recordStreamEnd(unchecked, ending, caller, options.deps)
    const unrecorded = await recording.then(
      () => null,
      (cause: unknown) => unrecordedAs(refusal, cause),
    )
    return replyTo(unrecorded ?? refusal, call, spoken)
  }
  received.begun()
  const upload = beginUpload(options, received, admitted)
  const copies = new OutboundCopies(order, signature, () =>
    signOutbound(options, { ...call, at: options.clock.now() }, received, order),
  )
  const sent = { body: received.body, still }
  const asked = await ask(options, sent, { order, admitted, copies, upload, signal: call.signal })
  const isOpen = !(asked instanceof Undelivered) && !(asked.answer.body instanceof Uint8Array)
  if (!isOpen) upload?.finish()
  if (asked instanceof Undelivered) {
    if (asked.failure.progress === 'cut') {
      const ending = undeliveredEnding(asked)
      return refused(ending.refusal, ending)
    }
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
    upload?.finish()
    return refused(lost)
  }
  if (answer.body instanceof Uint8Array) {
    deadline.end()
    share.close()
    return { ...answer, body: answer.body, still }
  }
  deadline.allow(options.streamMs)
  return streamed(options, { ...asked, admitted, unchecked, order, upload }, call)
}

/** The frames of a streamed request. The other end of the connection inspects them. */
function beginUpload(
  { deps }: Serving,
  { frames }: ReceivedRequest,
  admitted: Exchange<Authorized>,
): Upload | null {
  if (frames === undefined) return null
  const upload = new Upload(frames, frames.firstBytes)
  upload.begin(watchStatus(admitted, deps.authorization, deps.standing), asItCame)
  return upload
}

interface Streamed extends Asked {
  readonly admitted: Exchange<Authorized>
  readonly unchecked: UncheckedRequest
  readonly order: OutboundRequest
  readonly upload: Upload | null
}

function streamed(
  { agent, deps, readKind }: OutboundOptions,
  { answer, response, share, admitted, unchecked, order, upload, deadline }: Streamed,
  { exchange }: OutboundCall,
): Reply {
  let told: ReportedRefusal | null = null
  const isFromFabric = order.route.prefix !== ''
  const { caller } = admitted
  const record = (ending: IntendedEnding) => recordStreamEnd(unchecked, ending, caller, deps)
  const ended = () => {
    upload?.finish()
    deadline.end()
    share.close()
  }
  const fail = (refusal: Refusal) => deadline.fail(evicted(refusal))
  const receiver = isFromFabric ? null : receiverOf(agent, order.name)
  const account = accountOfAnswer(admitted)
  const source = { readKind, route: order.route, account }
  const { codec } = answer
  const frames = codec === null ? null : codec.open(reliabilityOf(order.route).streams.frameBytes)
  const ways = { fail, receiver, record, ended, source, frames, upload }
  const stream = { deps, admitted, response, share, ...ways }
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
      ...(codec === null ? {} : { codec }),
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
