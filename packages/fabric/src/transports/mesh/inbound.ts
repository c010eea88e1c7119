import type { Server as PlainServer } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { TLSSocket, TlsOptions } from 'node:tls'
import {
  createId,
  formatContentDigest,
  formatSignedResponseHeaders,
  prepareResponseSignature,
  type SignedMessage,
  signedMessage,
  utf8,
} from '@countersign/protocol'
import {
  guardPeers,
  PeerFault,
  peerIdentity,
  rotateServer,
  serverTlsOptions,
} from '@countersign/protocol/tls'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/random.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Arrival } from '../../pipeline/arrival.ts'
import { refuseUnread } from '../../pipeline/control.ts'
import type { Courier, Delivered } from '../../pipeline/delivery.ts'
import type { Rooms } from '../../pipeline/enforce.ts'
import { sha256 } from '../../pipeline/record.ts'
import type { Balancer } from '../http/balancer.ts'
import { answerCall, exchangeHeaders, problem, quotaHeadersOf } from '../http/call.ts'
import { certificateChainOf, type Incoming, readIncoming } from '../http/incoming.ts'
import type { McpSessions } from '../http/mcp-sessions.ts'
import { leavingSignal, type NodeResponse, type Reply, writeReply } from '../http/respond.ts'
import type { Route } from '../http/routes.ts'
import type { TaskOwners } from '../http/task-guard.ts'
import { refuseUnparsed } from '../http/unparsed.ts'
import type { Upstream } from '../http/upstream.ts'
import type { ConnectorAgent } from './connector-agent.ts'
import { relayForwarded } from './relay.ts'
import { MESH_WIRE } from './wire.ts'

export interface InboundOptions {
  readonly agent: ConnectorAgent
  /** The gateway's SPIFFE ID: what it forwards was enforced there. */
  readonly gatewayId: string
  readonly rooms: Rooms
  /** The agent that this connector stands in front of, on loopback. */
  readonly route: Route
  readonly upstream: Upstream
  readonly balancer: Balancer
  readonly sessions: McpSessions
  readonly tasks: TaskOwners
  readonly host: string
  readonly port: number
  /** Told of every signature that is made here, so that nobody computes it again. */
  readonly made: WeakSet<SignedMessage>
  readonly bodyBytesMax: number
  readonly timeoutMs: number
  readonly streamMs: number
  readonly clock: Clock
  readonly random: Random
}

/** As many as the gateway takes by default; strangers are gone after the handshake. */
const connectionsMax = 4_096
export interface Listener {
  readonly port: number
  /** Stops accepting, lets what is under way end for `graceMs`, then closes the rest. */
  close(graceMs: number): Promise<void>
}

/** The callee's side of the mesh: mutual TLS in, the same pipeline, the agent's own address out. */
export async function openInbound(options: InboundOptions): Promise<Listener> {
  const { agent } = options
  const tlsOf = (): TlsOptions =>
    serverTlsOptions({ ...agent.credential(), requestPeer: 'required', alpn: ['http/1.1'] })
  const server = createServer({
    ...tlsOf(),
    headersTimeout: 10_000,
    requestTimeout: 60_000,
    // Refused by us, so that it is on record.
    requireHostHeader: false,
  })
  server.maxConnections = connectionsMax
  guardPeers(server, { ...agent.trust, requestPeer: 'required' })
  server.on('tlsClientError', () => undefined)
  refuseUnparsed(server, (socket, refusal) => refuse(options, socket as TLSSocket, refusal))
  server.on('request', (request, response) => {
    const leaving = leavingSignal(response)
    readIncoming(request, options.bodyBytesMax)
      .then((incoming) => {
        if (!(incoming instanceof Refusal) && isFromGateway(options, incoming)) {
          return relayForwarded(options, incoming, response, leaving)
        }
        return reply(options, request.socket as TLSSocket, incoming, leaving).then((made) =>
          writeMeshReply(response, made),
        )
      })
      .catch(() => response.destroy())
  })
  const stop = agent.onRotate(() => rotateServer(server, tlsOf()))
  const port = await listen(server, options)
  return {
    port,
    close: (graceMs) => {
      stop()
      return closeListener(server, graceMs)
    },
  }
}

/** By the certificate of this very connection, and by nothing that the request says. */
function isFromGateway({ agent, gatewayId }: InboundOptions, { presented }: Incoming): boolean {
  const { bundles, now } = agent.trust
  const peer = peerIdentity(presented.certificateChain ?? [], bundles, now())
  return !(peer instanceof PeerFault) && peer.spiffeId === gatewayId
}

function reply(
  options: InboundOptions,
  socket: TLSSocket,
  incoming: Incoming | Refusal,
  signal: AbortSignal,
): Promise<Reply> {
  return incoming instanceof Refusal
    ? refuse(options, socket, incoming)
    : answer(options, incoming, signal)
}

function answer(options: InboundOptions, incoming: Incoming, signal: AbortSignal): Promise<Reply> {
  const { agent, clock, random } = options
  const at = clock.now()
  const exchange = createId('dec', at, random(10))
  return answerCall(options.rooms, {
    exchange,
    at,
    transport: 'mesh',
    incoming,
    path: incoming.head.path,
    sessions: options.sessions,
    tasks: options.tasks,
    wireOf: (refusal) => MESH_WIRE[refusal.code],
    wrap: (courier) => countersigning(courier, incoming, options),
    courier: {
      route: options.route,
      upstream: options.balancer,
      // The agent has nothing but its loopback address to know us by, and no use for our signature.
      signer: null,
      receiverId: agent.spiffeId,
      bodyBytesMax: options.bodyBytesMax,
      timeoutMs: options.timeoutMs,
      streamMs: options.streamMs,
      signal,
      card: {
        baseUrl: `https://${agent.name}.mesh`,
        upstreamUrls: options.route.endpoints.map(({ url }) => url),
        signer: agent.signer,
        credentialsRequired: true,
      },
    },
  }).catch((cause: unknown) =>
    refusalReply(new Refusal('LEDGER_UNAVAILABLE', String(cause)), exchange),
  )
}

/** Records what could not be read under the name that the connection proved, and answers it. */
async function refuse(
  { agent, rooms, clock, random }: InboundOptions,
  socket: TLSSocket,
  refusal: Refusal,
): Promise<Reply> {
  const at = clock.now()
  const exchange = createId('dec', at, random(10))
  const { name } = agent
  const call = {
    kind: 'agent',
    name,
    action: 'call',
    protocol: 'http',
    operation: 'unread',
  } as const
  const arrival: Arrival = {
    ...{ at, exchange, transport: 'mesh', fault: refusal, signature: null },
    presented: { certificateChain: certificateChainOf(socket), bearer: null, apiKey: null },
    target: { ...call, tool: '', labels: [] },
    message: { method: '', path: '', headers: [], contentType: '', body: new Uint8Array(0) },
  }
  return refuseUnread(rooms, arrival, refusal).then(
    () => ({ ...refusalReply(refusal, exchange), closes: true }),
    (cause: unknown) => refusalReply(new Refusal('LEDGER_UNAVAILABLE', String(cause)), exchange),
  )
}

function refusalReply(refusal: Refusal, exchange: string): Reply {
  const { status } = MESH_WIRE[refusal.code]
  const headers: [string, string][] = [
    ['content-type', 'application/problem+json'],
    ['countersign-refusal', refusal.code],
    ...exchangeHeaders(exchange),
    ...quotaHeadersOf(refusal),
  ]
  return { status, headers, body: utf8(problem(refusal, exchange, status)) }
}

/** Some refusals end the connection: what its peer proved at the handshake no longer holds. */
async function writeMeshReply(response: NodeResponse, reply: Reply): Promise<void> {
  const code = reply.headers.find(([name]) => name === 'countersign-refusal')?.[1] ?? ''
  const closes = Object.hasOwn(MESH_WIRE, code) && MESH_WIRE[code as keyof typeof MESH_WIRE].closes
  const headers = closes ? [...reply.headers, ['connection', 'close'] as const] : reply.headers
  await writeReply(response, { ...reply, headers })
}

/** The connector holds the agent's key, so the agent's answer is countersigned here, on its behalf. */
function countersigning(courier: Courier, incoming: Incoming, options: InboundOptions): Courier {
  return async (intended, still) => {
    const delivered = await courier(intended, still)
    if (delivered instanceof Refusal) return delivered
    const final = rewritten(delivered)
    return final instanceof Refusal ? final : countersign(final, incoming, options)
  }
}

/** The connector signs what its agent's caller will see. */
function rewritten({ rewrite, ...delivered }: Delivered): Delivered | Refusal {
  if (rewrite === undefined || !(delivered.body instanceof Uint8Array)) return delivered
  const body = rewrite(delivered.body)
  return body instanceof Refusal ? body : { ...delivered, body }
}

function countersign(
  delivered: Delivered,
  incoming: Incoming,
  { agent, clock, made }: InboundOptions,
): Delivered {
  if (incoming.signature === null) return { ...delivered, countersignature: null }
  const { request } = incoming.signature
  const bare = delivered.headers.filter(
    ([name]) => !['content-digest', 'signature', 'signature-input'].includes(name),
  )
  const headers =
    delivered.body instanceof Uint8Array
      ? [...bare, ['content-digest', formatContentDigest(sha256(delivered.body))] as const]
      : bare
  const response = { status: delivered.status, headers }
  const prepared = prepareResponseSignature(
    { response, request },
    { created: Math.floor(clock.now() / 1000), keyId: agent.signer.keyId },
  )
  const signature = agent.signer.sign(utf8(prepared.base))
  const signed = [...headers, ...formatSignedResponseHeaders('callee', prepared.input, signature)]
  const countersignature = signedMessage('callee', prepared, signature)
  made.add(countersignature)
  return { ...delivered, headers: signed, countersignature }
}

export function closeListener(server: Server | PlainServer, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearTimeout(timer)
      resolve()
    })
    server.closeIdleConnections()
  })
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
