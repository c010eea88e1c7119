import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  createId,
  formatContentDigest,
  formatSignedRequestHeaders,
  isAssignableName,
  prepareRequestSignature,
  type SignableRequest,
  type SignedMessage,
  signedMessage,
  toBase64Url,
  utf8,
} from '@countersign/protocol'
import { type ConnectionLimits, guardConnections } from '@countersign/protocol/tls'
import { admitCaller } from '../../budgets/admission.ts'
import type { BodyBudget, BodyShare } from '../../budgets/body-budget.ts'
import { createPatience, type Patience } from '../../budgets/patience.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/random.ts'
import { Refusal, StatedRefusal, undecided } from '../../lib/refusal.ts'
import { sha256 } from '../../lib/sha256.ts'
import type { Arrival, PresentedSignature } from '../../pipeline/arrival.ts'
import { identify } from '../../pipeline/authenticate.ts'
import type { Authorized } from '../../pipeline/authorize.ts'
import { admitControl } from '../../pipeline/control.ts'
import { declinedBy, refusalOf, Undelivered, withheld } from '../../pipeline/delivery.ts'
import type { IntendedEnding } from '../../pipeline/ending.ts'
import type { Rooms } from '../../pipeline/enforce.ts'
import { accountOfAnswer } from '../../pipeline/large-bodies.ts'
import { recheck } from '../../pipeline/recheck.ts'
import {
  recordRefusal,
  recordStreamEnd,
  refusalOfFailure,
  unrecordedAs,
} from '../../pipeline/record.ts'
import type { ReadKind } from '../../protocols/a2a/card-content.ts'
import type { Classified, Classify } from '../../protocols/classify.ts'
import { statedRefusal } from '../../protocols/http/stated-refusal.ts'
import { forwardedHeaders, type Head } from '../../protocols/reading/head.ts'
import type { Spoken } from '../../protocols/spoken.ts'
import type { Balancer } from '../../routes/balancer.ts'
import { leadsTo } from '../../routes/routes.ts'
import type { BalancedResponse, Endpoint, UpstreamRequest } from '../../routes/upstream.ts'
import { ArrivingBody } from '../http/arriving-body.ts'
import { refusalEvent, refusalReply, spokenBy, terminalEvents } from '../http/call.ts'
import { evicted, undelivered } from '../http/courier.ts'
import { type Incoming, isUnread, type NodeRequest, readIncoming } from '../http/incoming.ts'
import { leavingSignal, type NodeResponse, type Reply, writeReply } from '../http/respond.ts'
import { refuseTunnels } from '../http/tunnels.ts'
import { arrivalOptions, connectorArrival, refuseUnparsed } from '../http/unparsed.ts'
import type { ConnectorAgent } from './connector-agent.ts'
import { connectorAnswers, connectorBudget } from './connector-budget.ts'
import { type Listener, listen } from './inbound.ts'
import { type Answer, type OutboundRoute, readAnswer, receiverOf } from './outbound-answer.ts'
import { outboundEvents, type ToldRefusal } from './outbound-stream.ts'
import { MESH_WIRE } from './wire.ts'

export type { OutboundRoute } from './outbound-answer.ts'

export interface OutboundOptions {
  readonly agent: ConnectorAgent
  readonly rooms: Rooms
  readonly upstream: Balancer
  readonly classify: Classify
  readonly readKind: ReadKind
  /** How `name` is reached from here: its own connectors, or the gateway when it has none. */
  findRoute(name: string): OutboundRoute | null
  /** Loopback only: whoever can reach this address speaks as the agent. */
  readonly host: string
  readonly port: number
  /** Told of every signature that is made here, so that nobody computes it again. */
  readonly made: WeakSet<SignedMessage>
  readonly bodyBytesMax: number
  /** Until an answer begins, and all of it when it is no stream. */
  readonly timeoutMs: number
  /** How long a stream may go on. */
  readonly streamMs: number
  readonly connectionsMax: number
  /** Where they differ from the defaults. */
  readonly responseLimits?: Partial<ConnectionLimits>
  readonly clock: Clock
  readonly random: Random
}

const loopbackNames: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]'])

/**
 * The caller's side of the mesh: a plain address on loopback, `/<agent>/<path>`, through which an
 * agent that knows nothing of us calls others by name, with its own identity and signature.
 */
export async function openOutbound(options: OutboundOptions): Promise<Listener> {
  if (!loopbackNames.has(options.host)) {
    throw new Error(`a connector listens on loopback only, not on ${options.host}`)
  }
  const server = createServer({
    ...arrivalOptions(connectorArrival),
  })
  server.maxConnections = options.connectionsMax
  const begin = (signal: AbortSignal): OutboundCall => {
    const at = options.clock.now()
    return { at, exchange: createId('dec', at, options.random(10)), signal }
  }
  const refuseOn = async (_: unknown, refusal: Refusal) => {
    const call = begin(AbortSignal.abort())
    return replyTo(await refuse(options, call, refusal), call)
  }
  refuseUnparsed(server, connectorArrival, refuseOn)
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

interface OutboundCall {
  readonly at: number
  readonly exchange: Arrival['exchange']
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
  const { agent, bodies: budget, bodyBytesMax, rooms } = serving
  const incoming = await readIncoming(request, body, {
    present: (_, head) => presentOwn(serving, head),
    async admit({ presented }) {
      // The agent's own standing: in quarantine it may not fill its connector either.
      const identified = await identify(presented, 'mesh', rooms)
      if (identified instanceof Refusal) return identified
      return admitCaller(identified, { budget, bodyBytesMax, address: agent.name })
    },
  })
  try {
    // Rejects only before anything is sent.
    const reply = await carry(serving, call, incoming).catch((cause: unknown) =>
      replyTo(undecided(cause), call),
    )
    if (isUnread(incoming) && body.endsConnection) response.setHeader('connection', 'close')
    await writeReply(response, reply)
  } finally {
    if (!(incoming instanceof Refusal)) incoming.release()
  }
}

/** Web pages can reach loopback too: by a name that resolves to it, or by a cross-origin request. */
function presentOwn({ agent }: OutboundOptions, head: Head) {
  const name = head.authority.replace(/:\d+$/, '')
  const isPage = head.headers.has('origin') || head.headers.has('sec-fetch-site')
  if (!loopbackNames.has(name) || isPage) {
    return new Refusal('CREDENTIAL_REJECTED', 'only local programs may speak as this agent')
  }
  return presentedBy(agent)
}

function presentedBy(agent: ConnectorAgent): Incoming['presented'] {
  return { certificateChain: agent.credential().certificateChain, bearer: null, apiKey: null }
}

/** One readable call: whom it is for, and what it asks. */
interface Order {
  readonly name: string
  /** Path and query at the receiver. */
  readonly inner: string
  readonly route: OutboundRoute
  readonly classified: Classified
}

async function carry(
  options: Serving,
  call: OutboundCall,
  incoming: Incoming | Refusal,
): Promise<Reply> {
  const order = incoming instanceof Refusal ? incoming : await readOrder(options, incoming)
  if (incoming instanceof Refusal || order instanceof Refusal) {
    const fault = order as Refusal
    return replyTo(await refuse(options, call, fault), call, unnamed(incoming, fault))
  }
  const spoken = spokenBy(incoming, order.classified)
  const signature = sign(options, call, incoming, order)
  const { request } = signature
  const arrival = toArrival(call, incoming, order, signature)
  const admitted = await admit(options, arrival)
  if (admitted instanceof Refusal) return replyTo(admitted, call, spoken)
  const still = () => recheck(admitted, options.rooms.authorization)
  const { caller } = admitted.authenticated
  const refused = async (refusal: Refusal) => {
    const unrecorded = await recordRefusal(arrival, refusal, caller, options.rooms).then(
      () => null,
      (cause: unknown) => unrecordedAs(refusal, cause),
    )
    return replyTo(unrecorded ?? refusal, call, spoken)
  }
  incoming.begun()
  const sent = { ...request, body: incoming.body, still }
  const asked = await ask(options, sent, { order, admitted, signal: call.signal })
  if (asked instanceof Undelivered) {
    const refusal = refusalOf(asked)
    // What is known here goes before what the receiver states.
    return refused(refusal instanceof StatedRefusal ? (still() ?? refusal) : refusal)
  }
  const { answer, response, patience, share } = asked
  // The answer took its time: what the agent gets is decided after it, not before.
  const lost = still()
  if (lost !== null) {
    response.discard()
    patience.end()
    share.close()
    return refused(lost)
  }
  if (answer.body instanceof Uint8Array) {
    patience.end()
    share.close()
    return { ...answer, body: answer.body, still }
  }
  patience.allow(options.streamMs)
  return streamed(options, { ...asked, admitted, arrival, order }, call)
}

interface Asked {
  readonly answer: Answer
  readonly response: BalancedResponse
  /** Still running: it ends with the body. */
  readonly patience: Patience
  readonly share: BodyShare
}

/** Sends the call, and reads and checks what comes back. Never rejects: the request may have left. */
async function ask(
  options: Serving,
  request: SignableRequest & Omit<UpstreamRequest, 'signal' | 'account'>,
  asking: { readonly order: Order; readonly admitted: Authorized; readonly signal: AbortSignal },
): Promise<Asked | Undelivered> {
  const { order, admitted, signal } = asking
  const { route, classified } = order
  const share = options.answers.admit(route.name, options.agent.name)
  if (share instanceof Refusal) return declinedBy(share)
  const patience = createPatience(signal, options.timeoutMs)
  share.onEvicted((refusal) => patience.fail(evicted(refusal)))
  const failed = (failure: Undelivered): Undelivered => {
    patience.end()
    share.close()
    return failure
  }
  try {
    const sent = {
      ...request,
      signal: patience.signal,
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
    const answered = { route, classified, admitted }
    const answer = await readAnswer(options, { response, request, share }, answered)
    if (answer instanceof Refusal) return failed(withheld(answer))
    return { answer, response, patience, share }
  } catch (cause) {
    return failed(undelivered(cause))
  }
}

/**
 * The gateway refused the second copy of a request, as a replay or for any other reason: the first had
 * left, and may be done.
 */
function refusedCopy(response: BalancedResponse): Undelivered | null {
  const { headers, attempts, isSecondCopy } = response
  const code = headers.find(([name]) => name.toLowerCase() === 'countersign-refusal')?.[1]
  if (!isSecondCopy || code === undefined) return null
  const detail = `the first copy was sent, and the second refused: ${code}`
  return new Undelivered({ progress: 'sent', detail }, attempts)
}

interface Streamed extends Asked {
  readonly admitted: Authorized
  readonly arrival: Arrival
  readonly order: Order
}

function streamed(
  { agent, rooms, readKind }: OutboundOptions,
  { answer, response, share, admitted, arrival, order, patience }: Streamed,
  { exchange }: OutboundCall,
): Reply {
  let told: ToldRefusal | null = null
  const isFromFabric = order.route.prefix !== ''
  const { caller } = admitted.authenticated
  const record = (ending: IntendedEnding) => recordStreamEnd(arrival, ending, caller, rooms)
  const ended = () => {
    patience.end()
    share.close()
  }
  const fail = (refusal: Refusal) => patience.fail(evicted(refusal))
  const receiver = isFromFabric ? null : receiverOf(agent, order.name)
  const account = accountOfAnswer(admitted.authenticated)
  const source = { readKind, route: order.route, account }
  const stream = { rooms, admitted, response, share, fail, receiver, record, ended, source }
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
      // The gateway has told its JSON-RPC client already. What a receiver states, and any JSON-RPC
      // error before it, is its own word: ours stands last, under our own exchange.
      farewell: (refusal) =>
        told !== null && isFromFabric
          ? [refusalEvent(refusal, { exchange: given ?? exchange, wireOf })]
          : terminalEvents(refusal, { exchange, wireOf }, order.classified),
    },
  }
}

async function readOrder(options: OutboundOptions, incoming: Incoming): Promise<Order | Refusal> {
  const unread = incoming.refused ?? incoming.fault
  if (unread !== null) return unread
  const { path: target } = incoming.head
  const [path = ''] = target.split('?', 1)
  const [, name = '', ...rest] = path.split('/')
  if (!isAssignableName(name)) return new Refusal('RECEIVER_UNKNOWN', 'the path names no agent')
  const route = options.findRoute(name)
  if (route === null) return new Refusal('RECEIVER_UNKNOWN', `${name} is not in the directory`)
  const inner = `/${rest.join('/')}`
  const classified = await options.classify(incoming, inner, route.protocol)
  if (classified instanceof Refusal) return classified
  return { name, inner: `${inner}${target.slice(path.length)}`, route, classified }
}

/** Records what was not even carried to policy, and gives what the caller hears. */
async function refuse(
  options: OutboundOptions,
  call: OutboundCall,
  fault: Refusal,
): Promise<Refusal> {
  const unread = { protocol: 'http', operation: 'unread', tool: '' } as const
  const answer = await admit(options, {
    ...{ exchange: call.exchange, at: call.at, transport: 'mesh', signature: null, fault },
    presented: presentedBy(options.agent),
    target: { kind: 'agent', name: 'unknown', action: 'call', ...unread, labels: [] },
    message: { method: '', path: '', headers: [], contentType: '', body: new Uint8Array(0) },
  })
  return answer instanceof Refusal ? answer : fault
}

/** Policy is asked on the caller's side too; what it refuses is recorded under the caller. */
function admit(options: OutboundOptions, arrival: Arrival): Promise<Authorized | Refusal> {
  return admitControl(options.rooms, arrival).catch(refusalOfFailure)
}

function toArrival(
  call: OutboundCall,
  { head, presented, body }: Incoming,
  { name, inner, classified }: Order,
  signature: PresentedSignature,
): Arrival {
  const { protocol, operation, tool } = classified
  return {
    exchange: call.exchange,
    at: call.at,
    transport: 'mesh',
    presented,
    fault: null,
    // Our own, by which policy sees that the receiver will get a signed request.
    signature,
    left: call.signal,
    target: { kind: 'agent', name, action: 'call', protocol, operation, tool, labels: [] },
    message: {
      method: head.method,
      path: inner,
      headers: [],
      contentType: head.headers.get('content-type') ?? '',
      body,
    },
  }
}

/** What travels is rebuilt, and signed with the agent's own key. */
function sign(
  { agent, random, made }: OutboundOptions,
  call: OutboundCall,
  incoming: Incoming,
  { name, inner, route }: Order,
): PresentedSignature {
  const headers: [string, string][] = [
    ...forwardedHeaders(incoming.head),
    ['countersign-to', receiverOf(agent, name)],
  ]
  if (incoming.body.length > 0) {
    headers.push(['content-digest', formatContentDigest(sha256(incoming.body))])
  }
  const path = `${route.prefix}${inner}`
  const request = { method: incoming.head.method, path, authority: '', headers }
  const prepared = prepareRequestSignature(request, {
    created: Math.floor(call.at / 1000),
    keyId: agent.signer.keyId,
    nonce: toBase64Url(random(16)),
  })
  const signature = agent.signer.sign(utf8(prepared.base))
  const fields = formatSignedRequestHeaders('caller', prepared.input, signature)
  const signed = signedMessage('caller', prepared, signature)
  made.add(signed)
  return { signed, request: { ...request, headers: [...headers, ...fields] } }
}

function replyTo(refusal: Refusal, { exchange }: OutboundCall, spoken?: Spoken): Reply {
  return refusalReply(refusal, { exchange, wireOf: ({ code }) => MESH_WIRE[code] }, spoken)
}

/** How to answer a request of which no operation was read. */
function unnamed(incoming: Incoming | Refusal, { rpcId }: Refusal): Spoken | undefined {
  return incoming instanceof Refusal ? undefined : spokenBy(incoming, { rpcId, protocol: 'http' })
}
