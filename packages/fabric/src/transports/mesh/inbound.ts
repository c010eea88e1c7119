import type { IncomingMessage, Server as PlainServer } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { TLSSocket, TlsOptions } from 'node:tls'
import {
  createExchangeId,
  formatContentDigest,
  formatSignedResponseHeaders,
  inputOfBase,
  prepareResponseSignature,
} from '@countersign/protocol'
import {
  answerPlainHttp,
  type ConnectionLimits,
  guardConnections,
  guardPeers,
  PeerFault,
  type PeerIdentity,
  peerChain,
  peerIdentity,
  rotateServer,
  serverTlsOptions,
} from '@countersign/protocol/tls'
import { admitCaller, admitGateway } from '../../budgets/admission.ts'
import type { BodyBudget } from '../../budgets/body-budget.ts'
import { OpenStreams } from '../../budgets/open-streams.ts'
import type { News } from '../../identity/newcomers.ts'
import type { Clock } from '../../lib/clock.ts'
import { networkOf } from '../../lib/limits.ts'
import type { Random } from '../../lib/random.ts'
import { Refusal, StatedRefusal } from '../../lib/refusal.ts'
import { sha256 } from '../../lib/sha256.ts'
import { admitHead } from '../../pipeline/admit.ts'
import { recordRefusedRequest } from '../../pipeline/control.ts'
import { type Delivered, type Forwarder, Undelivered, withheld } from '../../pipeline/delivery.ts'
import type { PipelineDeps } from '../../pipeline/enforce.ts'
import { refusalOfFailure } from '../../pipeline/record.ts'
import { createUncheckedRequest } from '../../pipeline/unchecked-request.ts'
import type { ReadKind } from '../../protocols/a2a/card-content.ts'
import type { TaskOwners } from '../../protocols/a2a/task-guard.ts'
import type { TaskReader } from '../../protocols/a2a/task-reader.ts'
import type { Classify } from '../../protocols/classify.ts'
import type { McpSessions } from '../../protocols/mcp/mcp-sessions.ts'
import type { Head } from '../../protocols/reading/head.ts'
import { forwardedCodec, streamedCodec } from '../../protocols/request-streams.ts'
import type { Balancer } from '../../routes/balancer.ts'
import { type Route, reliabilityOf } from '../../routes/routes.ts'
import { ArrivingBody } from '../http/arriving-body.ts'
import { Authorities, authorityOf } from '../http/authorities.ts'
import { answerCall, refusalReply } from '../http/call.ts'
import {
  hasFrames,
  isUnparsed,
  type NodeRequest,
  type ReceivedRequest,
  receiveRequest,
} from '../http/received-request.ts'
import type { StreamedRequest } from '../http/request-frames.ts'
import { leavingSignal, type NodeResponse, type Reply, writeReply } from '../http/respond.ts'
import { refuseTunnels } from '../http/tunnels.ts'
import { connectorHeadLimits, headOptions, refuseUnparsed } from '../http/unparsed.ts'
import { boundExchange } from './bound-exchange.ts'
import type { ConnectorAgent } from './connector-agent.ts'
import { connectorAnswers, connectorBudget } from './connector-budget.ts'
import { acceptsBatch, type MessageSigner, type UnsignedMessage } from './message-signer.ts'
import { relayForwarded } from './relay.ts'
import { MESH_WIRE } from './wire.ts'

export interface InboundOptions {
  readonly agent: ConnectorAgent
  /** The gateway's SPIFFE ID: what it forwards was enforced there. */
  readonly gatewayId: string
  readonly deps: PipelineDeps
  /** The agent that this connector stands in front of, on loopback. */
  readonly route: Route
  readonly balancer: Balancer
  /** The end of what a caller's certificate was renewed to; 0 for nothing. */
  continuesUntil(peer: PeerIdentity): number
  /**
   * Tracks the states of the fabric that this connector has received, and those that it has not.
   */
  readonly news: News
  readonly sessions: McpSessions
  readonly classify: Classify
  readonly readKind: ReadKind
  readonly taskReader: TaskReader
  readonly tasks: TaskOwners
  readonly host: string
  readonly port: number
  /** Further host names that others reach this connector by. */
  readonly names: readonly string[]
  readonly signer: MessageSigner
  readonly bodyBytesMax: number
  readonly timeoutMs: number
  readonly streamMs: number
  readonly connectionsMax: number
  /** Overrides of the defaults. */
  readonly responseLimits?: Partial<ConnectionLimits>
  /** Returns the log slot of the fabric that records, for the ids of exchanges. */
  slot(): string
  readonly clock: Clock
  readonly random: Random
}

export interface Listener {
  readonly port: number
  /** Stops accepting, lets what is under way end for `graceMs`, then closes the rest. */
  close(graceMs: number): Promise<void>
}

/** The callee's side of the mesh: mutual TLS in, the same pipeline, the agent's own address out. */
export async function openInbound(options: InboundOptions): Promise<Listener> {
  const { agent, host } = options
  const tlsOf = (): TlsOptions =>
    serverTlsOptions({ ...agent.credential(), requestPeer: 'required', alpn: ['http/1.1'] })
  const server = createServer({
    ...tlsOf(),
    ...headOptions(connectorHeadLimits),
  })
  server.maxConnections = options.connectionsMax
  guardPeers(server, {
    ...{ ...agent.trust, requestPeer: 'required' },
    continuesUntil: (peer) => options.continuesUntil(peer),
  })
  answerPlainHttp(server)
  const refuseOn = (socket: unknown, refusal: Refusal) =>
    refuse(options, socket as TLSSocket, refusal)
  refuseUnparsed(server, connectorHeadLimits, refuseOn)
  refuseTunnels(server, refuseOn)
  const serving: Serving = {
    ...options,
    authorities: new Authorities([host, `${agent.name}.mesh`, ...options.names]),
    bodies: connectorBudget(options.bodyBytesMax, options.clock),
    places: new OpenStreams(),
    answers: connectorAnswers(
      { receiverPart: 1, callerPart: 1 / 2 },
      options.bodyBytesMax,
      options.clock,
    ),
  }
  const connections = guardConnections(server, {
    ...(options.responseLimits === undefined ? {} : { limits: options.responseLimits }),
    identityOf: (socket) => peerOf(options, socket as TLSSocket)?.spiffeId ?? null,
    handle(request, response) {
      serve(serving, request as IncomingMessage, response).catch(() => response.destroy())
    },
  })
  const stop = agent.onRotate(() => rotateServer(server, tlsOf()))
  const port = await listen(server, options)
  return {
    port,
    close: (graceMs) => {
      stop()
      return connections.close(graceMs)
    },
  }
}

interface Serving extends InboundOptions {
  readonly authorities: Authorities
  readonly bodies: BodyBudget
  readonly answers: BodyBudget
  /** Of streamed requests. */
  readonly places: OpenStreams
}

async function serve(
  serving: Serving,
  request: NodeRequest & IncomingMessage,
  response: NodeResponse,
): Promise<void> {
  const body = new ArrivingBody(request)
  const leaving = leavingSignal(response)
  const socket = request.socket as TLSSocket
  const gateway = findGateway(serving, socket)
  const changesAtReceipt = serving.news.count()
  const foreign = serving.authorities.fault(authorityOf(request), socket.localAddress)
  const received = foreign ?? (await readRequest(serving, request, body, { socket, gateway }))
  try {
    if (received instanceof Refusal) {
      return await writeMeshReply(response, await refuse(serving, socket, received))
    }
    const unparsed = received.refused ?? received.fault
    if (gateway !== null) {
      if (unparsed === null) {
        const relay = { ...serving, upstream: serving.balancer }
        return await relayForwarded(relay, { received, changesAtReceipt }, response, leaving)
      }
      return await writeMeshReply(response, await refuse(serving, socket, unparsed))
    }
    const reply = await answer(serving, received, leaving)
    const isUnread = isUnparsed(received) || hasFrames(received)
    const closes = isUnread && body.endsConnection
    await writeMeshReply(response, closes ? { ...reply, closes } : reply)
  } finally {
    if (!(received instanceof Refusal)) received.release()
  }
}

function readRequest(
  serving: Serving,
  request: NodeRequest,
  body: ArrivingBody,
  { socket, gateway }: { readonly socket: TLSSocket; readonly gateway: PeerIdentity | null },
): Promise<ReceivedRequest | Refusal> {
  const { deps, bodies: budget, bodyBytesMax } = serving
  const counted = { budget, bodyBytesMax, address: networkOf(socket.remoteAddress ?? '') }
  return receiveRequest(request, body, {
    admit({ presented }) {
      if (gateway !== null) return { reserved: admitGateway(gateway, counted), identified: null }
      // It would be ignored, and with it a user on whose behalf its bearer claims to act.
      if (presented.bearer !== null || presented.apiKey !== null) {
        return new Refusal('CREDENTIAL_REJECTED', 'a connector knows its peers by certificate')
      }
      const head = { presented, transport: 'mesh' } as const
      return admitHead(deps, head, (identified) => admitCaller(identified, counted))
    },
    streamOf: (head) => streamOfRequest(serving, head, gateway !== null),
  })
}

/**
 * The codec and bounds of a request that the route permits to be a stream, as the gateway has
 * decided of what it forwards.
 */
function streamOfRequest(
  { route, places }: Serving,
  head: Head,
  isForwarded: boolean,
): StreamedRequest | null | Refusal {
  const codec = isForwarded ? forwardedCodec(head) : streamedCodec(route, head)
  if (codec === null || codec instanceof Refusal) return codec
  return { codec, bounds: reliabilityOf(route).streams, places }
}

/** By the certificate of this very connection, and by nothing in the request. */
function findGateway(options: InboundOptions, socket: TLSSocket): PeerIdentity | null {
  const peer = peerOf(options, socket)
  return peer?.spiffeId === options.gatewayId ? peer : null
}

function peerOf({ agent }: InboundOptions, socket: TLSSocket): PeerIdentity | null {
  const { bundles, now } = agent.trust
  const peer = peerIdentity(peerChain(socket) ?? [], bundles, now())
  return peer instanceof PeerFault ? null : peer
}

function answer(options: Serving, received: ReceivedRequest, signal: AbortSignal): Promise<Reply> {
  const { agent, clock, random } = options
  const at = clock.now()
  const slot = options.slot()
  const exchange = createExchangeId(slot, at, random(10))
  return answerCall(options.deps, {
    exchange,
    boundExchange: (signature) => boundExchange(slot, at, { signature, receiver: agent.spiffeId }),
    at,
    transport: 'mesh',
    received,
    path: received.head.path,
    sessions: options.sessions,
    classify: options.classify,
    tasks: options.tasks,
    taskReader: options.taskReader,
    wireOf: (refusal) => MESH_WIRE[refusal.code],
    wrap: (forwarder) => countersigning(forwarder, received, options),
    forwarder: {
      route: options.route,
      upstream: options.balancer,
      // The agent has nothing but its loopback address to know us by, and no use for our signature.
      signer: null,
      receiverId: agent.spiffeId,
      bodyBytesMax: options.bodyBytesMax,
      answers: options.answers,
      timeoutMs: options.timeoutMs,
      streamMs: options.streamMs,
      signal,
      readKind: options.readKind,
      card: {
        baseUrl: `https://${agent.name}.mesh`,
        upstreamUrls: options.route.endpoints.map(({ url }) => url),
        protocol: options.route.protocol,
        signer: agent.signer,
        credentialsRequired: true,
      },
    },
  }).catch((cause: unknown) => meshRefusal(refusalOfFailure(cause), exchange))
}

/** Records what could not be read under the name that the connection proved, and answers it. */
async function refuse(
  { agent, deps, slot, clock, random }: InboundOptions,
  socket: TLSSocket,
  refusal: Refusal,
): Promise<Reply> {
  const at = clock.now()
  const exchange = createExchangeId(slot(), at, random(10))
  const { name } = agent
  const call = {
    kind: 'agent',
    name,
    action: 'call',
    protocol: 'http',
    operation: 'unread',
  } as const
  const unchecked = createUncheckedRequest({
    ...{ at, id: exchange, transport: 'mesh', fault: refusal, target: call },
    presented: { certificateChain: peerChain(socket), bearer: null, apiKey: null },
  })
  const { unrecorded } = await recordRefusedRequest(deps, unchecked, refusal)
  if (unrecorded !== null) return meshRefusal(unrecorded, exchange)
  return { ...meshRefusal(refusal, exchange), closes: true }
}

function meshRefusal(refusal: Refusal, exchange: string): Reply {
  return refusalReply(refusal, { exchange, wireOf: ({ code }) => MESH_WIRE[code] })
}

/**
 * Some refusals end the connection: what its peer proved at the handshake no longer holds. The
 * statements of the agent behind this connector change nothing in that.
 */
async function writeMeshReply(response: NodeResponse, reply: Reply): Promise<void> {
  const { refusal = null } = reply
  const isOwn = refusal !== null && !(refusal instanceof StatedRefusal)
  const closes = isOwn && MESH_WIRE[refusal.code].closes
  const headers = closes ? [...reply.headers, ['connection', 'close'] as const] : reply.headers
  await writeReply(response, { ...reply, headers })
}

/**
 * The connector holds the agent's key, so the agent's answer is countersigned here, on its behalf.
 */
function countersigning(
  forwarder: Forwarder,
  received: ReceivedRequest,
  options: InboundOptions,
): Forwarder {
  return async (intended, still) => {
    const delivered = await forwarder(intended, still)
    if (delivered instanceof Refusal || delivered instanceof Undelivered) return delivered
    const final = await rewritten(delivered)
    return final instanceof Refusal ? withheld(final) : countersign(final, received, options)
  }
}

/** The connector signs what its agent's caller will see. */
async function rewritten({ rewrite, ...delivered }: Delivered): Promise<Delivered | Refusal> {
  if (rewrite === undefined || !(delivered.body instanceof Uint8Array)) return delivered
  const body = await rewrite(delivered.body)
  return body instanceof Refusal ? body : { ...delivered, body }
}

async function countersign(
  delivered: Delivered,
  received: ReceivedRequest,
  { clock, signer }: InboundOptions,
): Promise<Delivered> {
  if (received.signature === null) return { ...delivered, countersignature: null }
  const bare = delivered.headers.filter(
    ([name]) => !['content-digest', 'signature', 'signature-input'].includes(name),
  )
  // A countersignature answers a signature of the request on record, of which a stream has none.
  if (received.frames !== undefined) return { ...delivered, headers: bare, countersignature: null }
  const { request } = received.signature
  const headers =
    delivered.body instanceof Uint8Array
      ? [...bare, ['content-digest', formatContentDigest(sha256(delivered.body))] as const]
      : bare
  const created = Math.floor(clock.now() / 1000)
  const unsigned: UnsignedMessage = {
    label: 'callee',
    prepare: (alg) =>
      prepareResponseSignature(
        { response: { status: delivered.status, headers }, request },
        { created, keyId: signer.keyId, alg },
      ),
  }
  const [accepts, algorithm] = acceptsBatch
  const isBatched = received.head.headers.get(accepts) === algorithm
  const countersignature = isBatched ? await signer.signInBatch(unsigned) : signer.sign(unsigned)
  const { base, signature } = countersignature
  const fields = formatSignedResponseHeaders('callee', inputOfBase(base), signature)
  const signed = [...headers, ...fields]
  return { ...delivered, headers: signed, countersignature }
}

export function listen(
  server: Server | PlainServer,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<number> {
  return new Promise((resolve, reject) => {
    // Stays after the start: a connection that could not be accepted must not end the process.
    server.on('error', reject)
    server.listen(port, host, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : port)
    })
  })
}
