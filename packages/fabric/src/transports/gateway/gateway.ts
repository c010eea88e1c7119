import { createSecureServer, type Http2SecureServer } from 'node:http2'
import type { TlsOptions } from 'node:tls'
import { createId } from '@countersign/protocol'
import { guardPeers, type PeerTrust, rotateServer } from '@countersign/protocol/tls'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/random.ts'
import { Refusal } from '../../lib/refusal.ts'
import { type NodeRequest, readIncoming } from '../http/incoming.ts'
import { type NodeResponse, type Reply, writeReply } from '../http/respond.ts'
import { arrivalOf, problemReply, type Surface, type Visit } from './visit.ts'

/** Answers what needs no credential; it sees the raw request and writes the response itself. */
export type PublicSurface = (request: NodeRequest, response: NodeResponse) => Promise<void>

export interface GatewayOptions {
  readonly tls: TlsOptions
  readonly trust: PeerTrust
  readonly host: string
  readonly port: number
  readonly bodyBytesMax: number
  readonly connectionsMax: number
  /** By first path segment, or first two under `/v1`. */
  readonly surfaces: ReadonlyMap<string, Surface>
  readonly publicSurfaces: ReadonlyMap<string, PublicSurface>
  /** Records a request that no surface could read, and says how to answer it. */
  refuse(arrival: ReturnType<typeof arrivalOf>, refusal: Refusal): Promise<Reply>
  /** False once an address has spent its allowance of unauthenticated attempts. */
  admitsStranger(address: string): boolean
  countRefusal(address: string, status: number): void
  readonly clock: Clock
  readonly random: Random
}

export interface Gateway {
  readonly port: number
  rotate(tls: TlsOptions): void
  /** Stops accepting, lets what is under way end for `graceMs`, then closes the rest. */
  close(graceMs: number): Promise<void>
}

/** A head must arrive in this time and a whole request in the other, or it is a slow-loris. */
const headTimeoutMs = 10_000
const requestTimeoutMs = 60_000
const headBytesMax = 32 * 1024
const streamsPerConnectionMax = 256

/** Opens the one HTTPS listener (TLS 1.3, HTTP/1.1 and HTTP/2) of a fabric. */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const server = createSecureServer({
    ...options.tls,
    ALPNProtocols: ['h2', 'http/1.1'],
    allowHTTP1: true,
    maxHeaderListPairs: 128,
    settings: { maxConcurrentStreams: streamsPerConnectionMax, maxHeaderListSize: headBytesMax },
    maxHeaderSize: headBytesMax,
    headersTimeout: headTimeoutMs,
    requestTimeout: requestTimeoutMs,
  } as Parameters<typeof createSecureServer>[0])
  server.maxConnections = options.connectionsMax
  guardPeers(server, { ...options.trust, requestPeer: 'optional' })
  // Errors of single connections are the peer's affair; unhandled, they would end the process.
  server.on('sessionError', () => undefined)
  server.on('tlsClientError', () => undefined)
  const sockets = trackSockets(server)
  server.on('request', (request, response) => {
    serve(request, response, options).catch(() => response.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, options.host, resolve)
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    rotate: (tls) => rotateServer(server, tls),
    close: (graceMs) => closeServer(server, sockets, graceMs),
  }
}

async function serve(
  request: NodeRequest,
  response: NodeResponse,
  options: GatewayOptions,
): Promise<void> {
  const url = request.url ?? ''
  const key = surfaceKey(url)
  const open = options.publicSurfaces.get(key)
  if (open !== undefined) return open(request, response)

  const address = request.socket.remoteAddress ?? ''
  const leaving = new AbortController()
  response.once('close', () => leaving.abort())
  const { clock, random } = options
  const at = clock.now()
  const exchange = createId('dec', at, random(10))
  if (!options.admitsStranger(address)) {
    // Not recorded one by one: a flood of strangers must not be able to fill the ledger.
    const refusal = new Refusal('RATE_LIMITED', 'too many refused attempts', 60_000)
    await writeReply(response, problemReply(refusal, exchange))
    request.socket.destroySoon()
    return
  }
  const incoming = await readIncoming(request, options.bodyBytesMax)
  const reply =
    incoming instanceof Refusal
      ? await options.refuse(unreadable({ exchange, at }, incoming, request), incoming)
      : await answer({ exchange, at, incoming, signal: leaving.signal }, key, options)
  options.countRefusal(address, reply.status)
  await writeReply(response, reply)
}

function answer(
  visit: Pick<Visit, 'exchange' | 'at' | 'incoming' | 'signal'>,
  key: string,
  options: GatewayOptions,
): Promise<Reply> {
  const [path = '', query = ''] = visit.incoming.head.path.split('?', 2)
  const whole = { ...visit, path, query: new URLSearchParams(query) }
  const surface = options.surfaces.get(key)
  if (surface === undefined) {
    const refusal = new Refusal('OPERATION_UNKNOWN', `nothing answers at ${path}`)
    const arrival = arrivalOf(whole, unknownTarget, refusal)
    return options.refuse(arrival, refusal)
  }
  return surface(whole).catch((cause: unknown) => {
    // Only a ledger that cannot record rejects this far; the caller hears nothing but that.
    return problemReply(new Refusal('LEDGER_UNAVAILABLE', String(cause)), visit.exchange)
  })
}

const unknownTarget = {
  kind: 'fabric',
  name: 'fabric',
  action: 'discover',
  protocol: 'http',
  operation: 'unread',
  tool: '',
} as const

function unreadable(
  visit: { readonly exchange: Visit['exchange']; readonly at: number },
  fault: Refusal,
  request: NodeRequest,
): ReturnType<typeof arrivalOf> {
  return {
    ...visit,
    transport: 'gateway',
    presented: null,
    fault,
    signature: null,
    target: { ...unknownTarget, labels: [] },
    message: {
      method: request.method ?? '',
      path: '',
      headers: [],
      contentType: '',
      body: new Uint8Array(0),
    },
  }
}

/** `/agents/billing/x` → `agents`; `/v1/receipts/…` → `v1/receipts`. */
function surfaceKey(url: string): string {
  const [, first = '', second = ''] = (url.split('?', 1)[0] ?? '').split('/', 3)
  return first === 'v1' || first === '.well-known' ? `${first}/${second}` : first
}

function trackSockets(server: Http2SecureServer): Set<{ destroy(): void }> {
  const sockets = new Set<{ destroy(): void }>()
  server.on('secureConnection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return sockets
}

function closeServer(
  server: Http2SecureServer,
  sockets: ReadonlySet<{ destroy(): void }>,
  graceMs: number,
): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      for (const socket of sockets) socket.destroy()
    }, graceMs)
    server.close(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
