import { once } from 'node:events'
import { IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import {
  type HeaderList,
  parseSpiffeId,
  REFUSALS,
  type RefusalCode,
  utf8,
} from '@countersign/protocol'
import {
  answerPlainHttp,
  type Connections,
  endGently,
  guardConnections,
  guardPeers,
  inviteBody,
  PeerFault,
  type PeerIdentity,
  peerIdentity,
  rotateServer,
  serverTlsOptions,
  type TlsCredential,
} from '@countersign/protocol/tls'
import { readAll } from '../connection/body.ts'
import { type BodyAccount, BodyMemory } from '../connection/body-memory.ts'
import { describeNetworkFault } from '../connection/network-fault.ts'
import { frameBytesFault } from '../frames/cut-frames.ts'
import type { Identity } from '../identity/identity.ts'
import { type Clock, monotonicOf } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import { CertifiedKeys } from './certified-keys.ts'
import { countersignResponse } from './countersign.ts'
import {
  checkForwarded,
  type Forwarded,
  ForwardFault,
  type ForwardKey,
  isStatedStream,
  nonceWindowMs,
} from './forwarded.ts'
import { NonceMemory } from './nonce-memory.ts'
import { Places } from './places.ts'
import { AnsweredFrames, ReceivedStream, receivedFormat } from './received-stream.ts'
import { type EndpointProtocol, type Registration, registerEndpoint } from './registration.ts'
import { replayed, replayedStream } from './replayed-request.ts'

/** The sender of one request, verified: the fabric vouches for it, and has recorded it already. */
export interface Received extends Forwarded {
  /** The frames of a streamed request; null for one that is whole. */
  readonly stream: ReceivedStream | null
}

export interface ReceivedRequest extends Received {
  /**
   * As `fetch` knows it. Its body is whole; that of a stream comes as it is read, at most
   * `bodyBytesMax` of it, unless `stream` is read in its place.
   */
  readonly request: Request
}

/** Answers a request. An error that it throws becomes a countersigned 500 without its message. */
export type AgentHandler = (incoming: ReceivedRequest) => Response | Promise<Response>

/** A listener of Node, express and most frameworks; the caller is in `receivedOf(req)`. */
export type NodeListener = (request: IncomingMessage, response: ServerResponse) => unknown

export interface ServeOptions {
  /** Address to listen on; `127.0.0.1` unless stated otherwise. */
  readonly host?: string
  /** 0, the default, takes a free one. */
  readonly port?: number
  /** Origin under which the fabric reaches this agent; null registers nothing. */
  readonly expose?: string | null
  /** The protocol of this agent; with `auto`, the fabric detects it from each request. */
  readonly protocol?: EndpointProtocol
  /** Of a request, and of a response that is not an event stream. */
  readonly bodyBytesMax?: number
  /**
   * `streams.frameBytes` of the agent's route, where it is less than 64 KiB, as in a call. Throws
   * RangeError for a number that no route has.
   */
  readonly frameBytes?: number
  /**
   * Milliseconds in which a request that is not a stream has to arrive; 60 seconds by default.
   */
  readonly requestMs?: number
  /**
   * A response of which the peer takes nothing for this long is destroyed; 30 seconds by default.
   */
  readonly responseStallMs?: number
  /** Finds the signing key of an agent whose connector calls directly (mesh). */
  readonly findKey?: (keyId: string) => Promise<ForwardKey | null>
}

export interface Served {
  /** As the fabric knows it. */
  readonly url: string
  readonly port: number
  /** Withdraws the endpoint, lets running requests finish for a moment, then closes. */
  close(): Promise<void>
}

interface Site {
  readonly identity: Identity
  readonly clock: Clock
  readonly bodyBytesMax: number
  readonly frameBytesMax: number
  readonly memory: BodyMemory
  readonly nonces: NonceMemory
  readonly certified: CertifiedKeys
  readonly findKey: (keyId: string) => Promise<ForwardKey | null>
  readonly listener: NodeListener
  readonly places: Places
}

const vouched = new WeakMap<IncomingMessage, Received>()

/** Connections of streamed requests, which take as long as their callers. */
const streaming = new WeakSet<Duplex>()

/**
 * Returns the sender of a request that a served Node listener got; null for a request that came
 * another way.
 */
export function receivedOf(request: IncomingMessage): Received | null {
  return vouched.get(request) ?? null
}

const closeGraceMs = 2_000

export async function serve(
  listener: NodeListener,
  options: ServeOptions,
  world: { identity: Identity; clock: Clock; onFault: (error: Error) => void },
): Promise<Served> {
  const { identity, clock } = world
  const { frameBytes = LIMITS.frameBytesMax } = options
  const fault = frameBytesFault(frameBytes)
  if (fault !== null) throw new RangeError(fault)
  const site: Site = {
    identity,
    clock,
    bodyBytesMax: options.bodyBytesMax ?? LIMITS.bodyBytesMax,
    frameBytesMax: frameBytes,
    memory: new BodyMemory(),
    nonces: new NonceMemory(nonceWindowMs, LIMITS.noncesMax, monotonicOf(clock)),
    certified: new CertifiedKeys(identity.trust, clock, nonceWindowMs),
    findKey: options.findKey ?? (() => Promise.resolve(null)),
    listener,
    places: new Places(),
  }
  const { server, connections } = openServer(site, options)
  const stopRotation = identity.onRotate((credential) => {
    rotateServer(server, tlsOptions(credential))
  })
  const port = await listen(server, options)
  const url = exposedUrl(options, port)
  let registration: Registration | null = null
  try {
    if (options.expose !== null) {
      const endpoint = { url, protocol: options.protocol ?? 'auto' }
      registration = await registerEndpoint(identity, endpoint, world.onFault)
    }
  } catch (error) {
    stopRotation()
    await connections.close(0)
    throw error
  }
  return {
    url,
    port,
    async close() {
      stopRotation()
      await registration?.withdraw()
      await connections.close(closeGraceMs)
    },
  }
}

function tlsOptions(credential: TlsCredential) {
  return serverTlsOptions({ ...credential, requestPeer: 'required', alpn: ['http/1.1'] })
}

function openServer(
  site: Site,
  { responseStallMs, requestMs = LIMITS.requestMsMax }: ServeOptions,
): { readonly server: Server; readonly connections: Connections } {
  const { identity, clock } = site
  const server = createServer({
    ...tlsOptions(identity.credential()),
    maxHeaderSize: LIMITS.headerBytesMax,
    headersTimeout: Math.min(LIMITS.headMsMax, requestMs),
    requestTimeout: requestMs,
    connectionsCheckingInterval: 1_000,
    // Longer than the fabric keeps idle connections, so that it is never the one surprised.
    keepAliveTimeout: 10_000,
  })
  server.maxConnections = LIMITS.connectionsMax
  const now = (): number => clock.now()
  guardPeers(server, { bundles: identity.bundles, now, requestPeer: 'required' })
  answerPlainHttp(server)
  server.on('connect', (_, socket) => {
    socket.on('error', () => undefined)
    endGently(socket as TLSSocket, utf8(tunnelRefusal))
  })
  server.on('clientError', refuseUnparsed)
  const connections = guardConnections(server, {
    ...(responseStallMs === undefined ? {} : { limits: { stallMs: responseStallMs } }),
    identityOf(socket) {
      const peer = peerIdentity(socket as TLSSocket, identity.bundles, clock.now())
      return peer instanceof PeerFault ? null : peer.spiffeId
    },
    handle(request, response) {
      const [raw, out] = [request as IncomingMessage, response as ServerResponse]
      answer(site, raw, out).catch(() => out.destroy())
    },
  })
  return { server, connections }
}

/** As Node answers what it cannot parse, or not in time; that time is not for streams. */
function refuseUnparsed({ code }: NodeJS.ErrnoException, socket: Duplex): void {
  const isLate = code === 'ERR_HTTP_REQUEST_TIMEOUT'
  if (isLate && streaming.has(socket)) return
  const status = isLate ? 408 : code === 'HPE_HEADER_OVERFLOW' ? 431 : 400
  if (!socket.writable) return void socket.destroy()
  const line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
  endGently(socket as TLSSocket, utf8(`${line}content-length: 0\r\nconnection: close\r\n\r\n`))
}

/** Node closes a CONNECT without an answer; an agent is not a proxy. */
const tunnelRefusal =
  'HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'

async function listen(server: Server, options: ServeOptions): Promise<number> {
  server.listen(options.port ?? 0, options.host ?? '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch (cause) {
    const why = cause instanceof Error ? describeNetworkFault(cause) : String(cause)
    throw new AgentError('SERVER_UNAVAILABLE', why, { cause })
  }
  return (server.address() as AddressInfo).port
}

function exposedUrl({ expose, host }: ServeOptions, port: number): string {
  const name = host ?? '127.0.0.1'
  const own = `https://${name.includes(':') ? `[${name}]` : name}:${port}`
  if (expose === undefined || expose === null) return own
  // A path in front would not be the path that the fabric signs.
  const url = URL.canParse(expose) ? new URL(expose) : null
  if (url?.protocol !== 'https:' || url.href !== `${url.origin}/`) {
    const says = '`expose` is not an origin of https, such as https://host:port'
    throw new AgentError('REQUEST_MALFORMED', says)
  }
  return url.origin
}

async function answer(site: Site, raw: IncomingMessage, response: ServerResponse): Promise<void> {
  const peer = peerOf(raw, site)
  if (peer instanceof ForwardFault) return refuse(response, peer.code, 401)
  const isFabric = parseSpiffeId(peer.spiffeId)?.kind === 'fabric'
  const arrived = site.places.arrive(peer.spiffeId, isFabric)
  if (arrived === null) return refuse(response, 'RATE_LIMITED', 503)
  response.once('close', arrived)
  const account = site.memory.open(peer.spiffeId, isFabric)
  response.once('close', () => account.close())
  const request = {
    method: raw.method ?? '',
    path: raw.url ?? '',
    authority: raw.headers.host ?? '',
    headers: headersOf(raw),
  }
  const format = isStatedStream(request) ? receivedFormat(raw.headers['content-type']) : null
  if (isStatedStream(request) && format === null)
    return refuse(response, 'CONTENT_UNSUPPORTED', 415)
  // A stream is verified by its head, before any of it is read.
  const body = format === null ? await bodyOf(raw, site.bodyBytesMax, account) : null
  if (typeof body === 'string') return refuse(response, body, body === 'OVERLOADED' ? 503 : 413)
  const { identity, clock, nonces, certified, findKey } = site
  const { spiffeId, trust } = identity
  const rules = { spiffeId, trust, clock, nonces, certified, findKey }
  const forwarded = await checkForwarded(request, body, { peer, rules })
  if (forwarded instanceof ForwardFault)
    return refuse(response, forwarded.code, statusOf(forwarded))
  const ended = site.places.work(forwarded.from)
  if (ended === null) return refuse(response, 'RATE_LIMITED', 503)
  response.once('close', ended)
  arrived()
  const answered = new AnsweredFrames(site.frameBytesMax)
  const stream =
    format === null ? null : openStream(raw, response, { format, account, answered, ...site })
  countersignResponse(response, {
    ...{ request, signer: identity.signing, clock, bodyBytesMax: site.bodyBytesMax },
    frames: stream === null ? null : answered,
  })
  const whole = stream === null ? replayed(raw, body) : replayedStream(raw, stream)
  // Applications learn from either object that their peer has left.
  response.once('close', () => {
    if (!response.writableFinished) whole.destroy()
  })
  vouched.set(whole, { ...forwarded, stream })
  await site.listener(whole, response)
}

/** The whole body, or the code of its refusal. */
async function bodyOf(
  raw: IncomingMessage,
  bodyBytesMax: number,
  account: BodyAccount,
): Promise<Uint8Array | 'OVERLOADED' | 'MESSAGE_TOO_LARGE'> {
  inviteBody(raw)
  try {
    return await readAll(raw, bodyBytesMax, 'REQUEST_TOO_LARGE', account)
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    return error.code === 'MEMORY_FULL' ? 'OVERLOADED' : 'MESSAGE_TOO_LARGE'
  }
}

function openStream(
  raw: IncomingMessage,
  response: ServerResponse,
  by: ConstructorParameters<typeof ReceivedStream>[1],
): ReceivedStream {
  const { socket } = raw
  streaming.add(socket)
  response.once('close', () => streaming.delete(socket))
  inviteBody(raw)
  return new ReceivedStream(raw, by)
}

/**
 * The fabric, or an agent of the trust domain; a user, or a client of a federated trust domain, has
 * no business here.
 */
function peerOf(raw: IncomingMessage, { identity, clock }: Site): PeerIdentity | ForwardFault {
  const { socket } = raw
  if (!(socket instanceof TLSSocket)) return new ForwardFault('CREDENTIAL_MISSING', 'no TLS')
  const peer = peerIdentity(socket, identity.bundles, clock.now())
  if (peer instanceof PeerFault) return new ForwardFault('CREDENTIAL_REJECTED', peer.detail)
  const kind = parseSpiffeId(peer.spiffeId)?.kind
  const isOurs = peer.trustDomain === identity.trustDomain
  if (isOurs && (kind === 'fabric' || kind === 'agent')) return peer
  return new ForwardFault('CREDENTIAL_REJECTED', peer.spiffeId)
}

function headersOf(raw: IncomingMessage): HeaderList {
  const headers: [string, string][] = []
  for (let at = 0; at + 1 < raw.rawHeaders.length; at += 2) {
    headers.push([(raw.rawHeaders[at] ?? '').toLowerCase(), raw.rawHeaders[at + 1] ?? ''])
  }
  return headers
}

function statusOf({ code }: ForwardFault): number {
  if (code === 'MESSAGE_REPLAYED') return 409
  if (code === 'MESSAGE_MALFORMED') return 400
  return code === 'UNDECIDED' ? 503 : 401
}

/** Unsigned, since nothing that it could answer was verified. */
function refuse(response: ServerResponse, code: RefusalCode, status: number): void {
  const { says, retry } = REFUSALS[code]
  const type = `urn:countersign:refusal:${code.toLowerCase().replaceAll('_', '-')}`
  response.writeHead(status, {
    'content-type': 'application/problem+json',
    'countersign-refusal': code,
    // The rest of the request is not worth reading.
    connection: 'close',
  })
  response.end(JSON.stringify({ type, title: says, status, code, retry }))
}
