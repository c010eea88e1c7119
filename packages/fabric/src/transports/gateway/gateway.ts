import { createSecureServer, type Http2SecureServer } from 'node:http2'
import type { TLSSocket, TlsOptions } from 'node:tls'
import { createId } from '@countersign/protocol'
import { guardPeers, rotateServer, tlsSocketOf } from '@countersign/protocol/tls'
import { Refusal } from '../../lib/refusal.ts'
import { refusalOfFailure } from '../../pipeline/record.ts'
import { comesFromForeignPage } from '../http/foreign-page.ts'
import { certificateChainOf, type NodeRequest, readIncoming } from '../http/incoming.ts'
import { leavingSignal, type NodeResponse, type Reply, writeReply } from '../http/respond.ts'
import { refuseUnparsed } from '../http/unparsed.ts'
import { ArrivingBodies } from './arriving-bodies.ts'
import { challenged } from './challenge.ts'
import {
  floodReply,
  refuseArrival,
  refuseUnread,
  type UnreadOptions,
  unreadTarget,
} from './unread.ts'
import { arrivalOf, problemReply, type Surface, type Visit } from './visit.ts'

/** Answers what needs no credential; it sees the raw request and writes the response itself. */
export type PublicSurface = (request: NodeRequest, response: NodeResponse) => Promise<void>

export interface GatewayOptions extends UnreadOptions {
  readonly tls: TlsOptions
  readonly host: string
  readonly port: number
  readonly bodyBytesMax: number
  readonly connectionsMax: number
  /** By first path segment, or first two under `/v1`. */
  readonly surfaces: ReadonlyMap<string, Surface>
  readonly publicSurfaces: ReadonlyMap<string, PublicSurface>
  /** `https://host:port`, as callers reach it. */
  origin(): string
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
/** HTTP/2 connections that carry nothing for this long are asked to end; HTTP/1.1 ends sooner. */
const idleConnectionMs = 120_000
/** Enough for sixty-four of the largest bodies by default, and no more than a small server can give. */
const strangerBytesMax = 256 * 1024 * 1024

/** Opens the one HTTPS listener (TLS 1.3, HTTP/1.1 and HTTP/2) of a fabric. */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const server = createSecureServer({
    ...options.tls,
    ALPNProtocols: ['h2', 'http/1.1'],
    allowHTTP1: true,
    maxHeaderListPairs: 128,
    settings: { maxConcurrentStreams: streamsPerConnectionMax, maxHeaderListSize: headBytesMax },
    maxHeaderSize: headBytesMax,
    // Refused by us, so that it is on record.
    requireHostHeader: false,
    headersTimeout: headTimeoutMs,
    requestTimeout: requestTimeoutMs,
  } as Parameters<typeof createSecureServer>[0])
  server.maxConnections = options.connectionsMax
  guardPeers(server, { ...options.trust, requestPeer: 'optional' })
  // Errors of single connections are the peer's affair; unhandled, they would end the process.
  server.on('sessionError', () => undefined)
  server.on('tlsClientError', () => undefined)
  server.on('session', (session) => {
    session.setTimeout(idleConnectionMs, () => session.close())
  })
  refuseUnparsed(server, (socket, refusal) => refuseUnread(socket as TLSSocket, refusal, options))
  const sockets = trackSockets(server)
  const bodies = new ArrivingBodies({ strangerBytesMax, timeoutMs: requestTimeoutMs })
  server.on('request', (request, response) => {
    serve(request, response, { options, bodies }).catch(() => response.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    // Stays after the start: a connection that could not be accepted must not end the process.
    server.on('error', reject)
    server.listen(options.port, options.host, resolve)
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    rotate: (tls) => rotateServer(server, tls),
    close: (graceMs) => closeServer(server, sockets, graceMs),
  }
}

/** Open to everybody, but not to everybody who keeps guessing: each attempt costs a signature check. */
const provingSurfaces: ReadonlySet<string> = new Set(['v1/enroll', 'v1/renew', 'oauth'])

interface Served {
  readonly options: GatewayOptions
  readonly bodies: ArrivingBodies
}

async function serve(
  request: NodeRequest,
  response: NodeResponse,
  { options, bodies }: Served,
): Promise<void> {
  const key = surfaceKey(request.url ?? '')
  const socket = tlsSocketOf(request)
  if (socket === null) return void response.destroy()
  const open = options.publicSurfaces.get(key)
  const isProving = open === undefined || provingSurfaces.has(key)
  const flood = isProving ? floodReply(socket, options) : null
  if (flood !== null) {
    await writeReply(response, flood)
    socket.destroySoon()
    return
  }
  if (open !== undefined) {
    // These read little or nothing, and some only later: nobody else may start the body flowing.
    return await open(request, response).finally(bodies.watch(request, false))
  }
  const isStranger = certificateChainOf(socket) === null
  const read = bodies.watch(request, isStranger)
  const signal = leavingSignal(response)
  const at = options.clock.now()
  const exchange = createId('dec', at, options.random(10))
  const incoming = await readIncoming(request, options.bodyBytesMax).finally(read)
  const reply =
    incoming instanceof Refusal
      ? await refuseUnread(socket, incoming, options)
      : await answer({ exchange, at, incoming, signal }, key, { socket, options })
  await writeReply(response, challenged(reply, options.origin()))
}

interface Place {
  readonly socket: TLSSocket
  readonly options: GatewayOptions
}

async function answer(
  visit: Pick<Visit, 'exchange' | 'at' | 'incoming' | 'signal'>,
  key: string,
  { socket, options }: Place,
): Promise<Reply> {
  const [path = '', query = ''] = visit.incoming.head.path.split('?', 2)
  const whole = { ...visit, path, query: new URLSearchParams(query) }
  const fault = pageFault(visit.incoming)
  const surface = options.surfaces.get(key)
  if (surface === undefined || fault !== null) {
    const unknown = new Refusal('OPERATION_UNKNOWN', `nothing answers at ${path}`)
    return refuseArrival(socket, arrivalOf(whole, unreadTarget, fault ?? unknown), options)
  }
  const reply = await surface(whole).catch((cause: unknown) => {
    // Only a ledger that cannot record rejects this far; the caller hears nothing but that.
    return problemReply(refusalOfFailure(cause), visit.exchange)
  })
  const code = reply.headers.find(([name]) => name === 'countersign-refusal')?.[1] ?? ''
  if (strangerCodes.has(code)) options.countStranger(socket.remoteAddress ?? '')
  return reply
}

/** What a caller hears that has not shown who it is, or is nobody here at present. */
const strangerCodes: ReadonlySet<string> = new Set([
  'CREDENTIAL_MISSING',
  'CREDENTIAL_REJECTED',
  'CREDENTIAL_EXPIRED',
  'CREDENTIALS_CONFLICTING',
  'AGENT_QUARANTINED',
  'AGENT_REVOKED',
])

function pageFault({ head, presented }: Visit['incoming']): Refusal | null {
  const { certificateChain, bearer, apiKey } = presented
  const isAmbient = certificateChain !== null && bearer === null && apiKey === null
  return isAmbient && comesFromForeignPage(head)
    ? new Refusal('CREDENTIAL_REJECTED', 'a page from elsewhere may not use a certificate')
    : null
}

const unreadable = '//'

/** `/agents/billing/x` → `agents`; `/v1/receipts/…` → `v1/receipts`. */
function surfaceKey(url: string): string {
  const [path = ''] = url.split('?', 1)
  const [before = '', first = '', second = ''] = path.split('/', 3)
  // A target in another form, or with an empty segment, is for no surface to read.
  if (before !== '' || (first === '' && path !== '/')) return unreadable
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
