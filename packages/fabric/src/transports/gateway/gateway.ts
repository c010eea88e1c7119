import type { TLSSocket, TlsOptions } from 'node:tls'
import { promisify } from 'node:util'
import { createExchangeId, type RefusalCode } from '@countersign/protocol'
import {
  type ConnectionLimits,
  type PeerIdentity,
  rotateServer,
  tlsSocketOf,
} from '@countersign/protocol/tls'
import { admitAnonymous, admitCaller } from '../../budgets/admission.ts'
import { BodyBudget, floorBytes } from '../../budgets/body-budget.ts'
import { networkOf } from '../../lib/limits.ts'
import { Refusal, StatedRefusal } from '../../lib/refusal.ts'
import { admitHead, type HeadDeps } from '../../pipeline/admit.ts'
import { refusalOfFailure } from '../../pipeline/record.ts'
import type { PresentedSignature } from '../../pipeline/unchecked-request.ts'
import { comesFromForeignPage } from '../../protocols/http/foreign-page.ts'
import type { Head } from '../../protocols/reading/head.ts'
import { ArrivingBody } from '../http/arriving-body.ts'
import { type Authorities, authorityOf } from '../http/authorities.ts'
import type { PathMatch, PathRoutes } from '../http/path-routes.ts'
import {
  hasFrames,
  isUnparsed,
  type JudgedHead,
  type NodeRequest,
  type ReceivedRequest,
  receiveRequest,
} from '../http/received-request.ts'
import type { StreamedRequest } from '../http/request-frames.ts'
import { leavingSignal, type NodeResponse, type Reply, writeReply } from '../http/respond.ts'
import { gatewayHeadLimits } from '../http/unparsed.ts'
import { challenged } from './challenge.ts'
import { createGatewayListener } from './listener.ts'
import { decodedRequest, problemReply, type Router } from './request-context.ts'
import {
  floodReply,
  refuseUnchecked,
  refuseUnparsedRequest,
  type UnparsedOptions,
  unparsedTarget,
} from './unparsed-requests.ts'

/**
 * Answers what needs no credential; it sees the raw request and writes the response itself. `read`
 * gives the request with its body, within the budget of unauthenticated requests.
 */
export type PublicRouter = (
  request: NodeRequest,
  response: NodeResponse,
  asked: PublicAsked,
) => Promise<void>

export interface PublicAsked {
  read(): Promise<ReceivedRequest | Refusal>
  /** The rest of the path behind its route; see `PathMatch`. */
  readonly rest: string
}

export interface PublicRoute {
  readonly router: PublicRouter
  /** Each attempt costs a signature check, so a client that keeps guessing is stopped before it. */
  readonly isProving: boolean
}

export interface GatewayOptions extends UnparsedOptions {
  readonly tls: TlsOptions
  readonly host: string
  readonly port: number
  /** The end of what a caller's certificate was renewed to; 0 for nothing. */
  continuesUntil(peer: PeerIdentity): number
  readonly bodyBytesMax: number
  /** Of the bodies of all identified senders together. */
  readonly requestMemoryBytesMax: number
  /** Counts the bytes held of everything that receivers sent. */
  readonly answers: BodyBudget
  readonly authorities: Authorities
  /** Identifies the senders of requests from the credentials of their heads. */
  readonly head: HeadDeps
  readonly connectionsMax: number
  /** Overrides of the defaults. */
  readonly responseLimits?: Partial<ConnectionLimits>
  readonly routes: PathRoutes<Router>
  readonly publicRoutes: PathRoutes<PublicRoute>
  /** The codec and bounds of a request that is not to be read whole; null for any other. */
  streamOf(
    match: PathMatch<Router>,
    head: Head,
    signature: PresentedSignature | null,
  ): StreamedRequest | null | Refusal
  /** `https://host:port`, as callers reach it. */
  origin(): string
}

/** The used part of a listener's budgets. */
export interface GatewayLoad {
  readonly connections: number
  readonly connectionsMax: number
  readonly bodyBytes: number
  readonly bodyBytesMax: number
  /** Of responses, as sampled twice a second. */
  readonly unsentBytes: number
}

export interface Gateway {
  readonly port: number
  load(): Promise<GatewayLoad>
  rotate(tls: TlsOptions): void
  /** Response bytes that callers have not taken yet, as sampled twice a second. */
  unsentBytes(): number
  /** Bytes of bodies of requests and of answers, and of responses that are not taken yet. */
  occupiedBytes(): number
  /** Stops accepting, lets what is under way end for `graceMs`, then closes the rest. */
  close(graceMs: number): Promise<void>
}

/** An enrolment, a renewal or a request for a token takes less than 4 KiB. */
const publicBodyBytesMax = 16 * 1024
const publicTotalBytesMax = 8 * 1024 * 1024
export const publicAddressBytesMax: number = 512 * 1024
const publicTimeoutMs = 10_000

/** Opens the one HTTPS listener (TLS 1.3, HTTP/1.1 and HTTP/2) of a fabric. */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const served: Served = {
    options,
    ...budgetsOf(options),
    prove: (request, identity) => connections.prove(request, identity),
  }
  const { server, connections } = createGatewayListener({
    ...options,
    limits: options.responseLimits ?? {},
    refuse: (socket, refusal) => refuseUnparsedRequest(socket, refusal, options),
    handle: (request, response) => serve(request, response, served),
  })
  await new Promise<void>((resolve, reject) => {
    // Stays after the start: a connection that could not be accepted must not end the process.
    server.on('error', reject)
    server.listen(options.port, options.host, resolve)
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    load: async () => ({
      connections: await promisify(server.getConnections.bind(server))(),
      connectionsMax: options.connectionsMax,
      bodyBytes: served.bodies.totalBytes + served.publicBodies.totalBytes,
      bodyBytesMax: options.requestMemoryBytesMax + publicTotalBytesMax,
      unsentBytes: connections.unsentBytes,
    }),
    rotate: (tls) => rotateServer(server, tls),
    unsentBytes: () => connections.unsentBytes,
    occupiedBytes: () =>
      served.bodies.totalBytes +
      served.publicBodies.totalBytes +
      options.answers.totalBytes +
      connections.unsentBytes,
    close: (graceMs) => connections.close(graceMs),
  }
}

interface Served {
  readonly options: GatewayOptions
  /** Bodies of identified senders. */
  readonly bodies: BodyBudget
  /**
   * Bodies of requests that need no credential: they do not use the memory of identified senders.
   */
  readonly publicBodies: BodyBudget
  /** Remembers whose connection this is, for the share of unsent bytes. */
  prove(request: NodeRequest, identity: string): void
}

function budgetsOf({ requestMemoryBytesMax, bodyBytesMax, clock }: GatewayOptions) {
  const now = (): number => clock.monotonic()
  const totalBytesMax = Math.max(requestMemoryBytesMax, 4 * bodyBytesMax)
  return {
    bodies: new BodyBudget({
      name: 'limits.requestMemoryBytes',
      totalBytesMax,
      identityBytesMax: totalBytesMax / 4,
      addressBytesMax: totalBytesMax / 2,
      floorBytes,
      timeoutMs: gatewayHeadLimits.requestMs,
      now,
    }),
    publicBodies: new BodyBudget({
      name: 'http.publicBytes',
      totalBytesMax: publicTotalBytesMax,
      identityBytesMax: publicAddressBytesMax,
      addressBytesMax: publicAddressBytesMax,
      floorBytes: 0,
      timeoutMs: publicTimeoutMs,
      now,
    }),
  }
}

async function serve(request: NodeRequest, response: NodeResponse, served: Served): Promise<void> {
  const { options } = served
  const body = new ArrivingBody(request)
  const socket = tlsSocketOf(request)
  if (socket === null) return void response.destroy()
  const foreign = options.authorities.fault(authorityOf(request), socket.localAddress)
  const [method, path] = [request.method ?? '', pathOf(request.url ?? '')]
  const open = options.publicRoutes.find(method, path)
  if (foreign === null && open !== null) {
    return await servePublic(open, { request, response, body, socket }, served)
  }
  const place = { socket, options, route: options.routes.find(method, path) }
  const received = foreign ?? (await readRequest(request, body, place, served))
  let reply: Reply | null = null
  try {
    reply =
      received instanceof Refusal
        ? await refuseUnparsedRequest(socket, received, options)
        : await answer(received, place, leavingSignal(response))
    if (reply.endsConnection === true) endSession(request, response)
    const isUnread = isUnparsed(received) || hasFrames(received)
    const closes = reply.closes === true || (isUnread && body.endsConnection)
    await writeReply(response, challenged({ ...reply, closes }, options.origin()))
  } finally {
    reply?.release?.()
    if (!(received instanceof Refusal)) received.release()
  }
}

interface PublicRequest {
  readonly request: NodeRequest
  readonly response: NodeResponse
  readonly body: ArrivingBody
  readonly socket: TLSSocket
}

async function servePublic(
  { handler: { router, isProving }, rest }: PathMatch<PublicRoute>,
  { request, response, body, socket }: PublicRequest,
  { options, publicBodies: budget }: Served,
): Promise<void> {
  const flood = isProving ? floodReply(socket, options) : null
  if (flood !== null) {
    endSession(request, response)
    return writeReply(response, flood)
  }
  let release = (): void => undefined
  const address = networkOf(socket.remoteAddress ?? '')
  const read = async () => {
    const admit = () => ({
      reserved: admitAnonymous({ budget, bodyBytesMax: publicBodyBytesMax, address }),
      identified: null,
    })
    const received = await receiveRequest(request, body, { admit })
    if (received instanceof Refusal) return received
    release = received.release
    return received.fault ?? received
  }
  await router(request, response, { read, rest }).finally(() => release())
}

/** Over HTTP/2 the other streams of the connection get their answers, and no new one begins. */
function endSession(request: NodeRequest, response: NodeResponse): void {
  if (!('stream' in request)) return
  const { session } = request.stream
  response.once('finish', () => session?.close())
}

interface Place {
  readonly socket: TLSSocket
  readonly options: GatewayOptions
  /** Null where nothing answers. */
  readonly route: PathMatch<Router> | null
}

/** The head decides who sends, and whether anything answers at all, before the body is read. */
function readRequest(
  request: NodeRequest,
  body: ArrivingBody,
  { socket, options, route }: Place,
  { bodies: budget, prove }: Served,
): Promise<ReceivedRequest | Refusal> {
  const address = networkOf(socket.remoteAddress ?? '')
  const { bodyBytesMax } = options
  return receiveRequest(request, body, {
    admit: ({ presented }) =>
      admitHead(options.head, { presented, transport: 'gateway' }, (identified) => {
        prove(request, identified.caller.principal)
        return admitCaller(identified, { budget, bodyBytesMax, address })
      }),
    streamOf: (head, signature) =>
      route === null ? null : options.streamOf(route, head, signature),
    faultOf: (judged) =>
      pageFault(judged) ??
      (route === null
        ? new Refusal('OPERATION_UNKNOWN', `nothing answers at ${judged.head.path}`)
        : null),
  })
}

async function answer(
  received: ReceivedRequest,
  { socket, options, route }: Place,
  signal: AbortSignal,
): Promise<Reply> {
  const flood = received.refused === null ? null : floodReply(socket, options)
  if (flood !== null) return flood
  const at = options.clock.now()
  const exchange = createExchangeId(options.slot, at, options.random(10))
  const { path: target } = received.head
  const path = pathOf(target)
  // All of it: a second `?` is part of the last value, and no end of the query.
  const query = new URLSearchParams(target.slice(path.length + 1))
  const { segments = {}, rest = '' } = route ?? {}
  const context = { exchange, at, received, signal, path, query, segments, rest }
  if (route === null) {
    return refuseUnchecked(socket, decodedRequest(context, unparsedTarget), options)
  }
  const reply = await route.handler(context).catch((cause: unknown) => {
    // Only a ledger that cannot record rejects this far; the caller receives nothing but that
    // refusal.
    return problemReply(refusalOfFailure(cause), exchange)
  })
  const { refusal = null } = reply
  // A receiver states the same codes, of callers that proved who they are.
  const isOwn = refusal !== null && !(refusal instanceof StatedRefusal)
  const isRefused = isOwn && unauthenticatedCodes.has(refusal.code)
  // Out of signature checks, the sender is not identified either.
  const isUnidentified = isRefused || received.refused?.code === 'RATE_LIMITED'
  if (isUnidentified) options.unauthenticatedLimits.count(socket.remoteAddress ?? '')
  return reply
}

/**
 * Codes of refusals to callers that have not proved an identity, or have no active one at present.
 */
const unauthenticatedCodes: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  'CREDENTIAL_MISSING',
  'CREDENTIAL_REJECTED',
  'CREDENTIAL_SPENT',
  'CREDENTIAL_EXPIRED',
  'CREDENTIALS_CONFLICTING',
  'AGENT_QUARANTINED',
  'AGENT_REVOKED',
])

function pageFault({ head, presented }: JudgedHead): Refusal | null {
  const { certificateChain, bearer, apiKey } = presented
  const isAmbient = certificateChain !== null && bearer === null && apiKey === null
  return isAmbient && comesFromForeignPage(head)
    ? new Refusal('CREDENTIAL_REJECTED', 'a page from elsewhere may not use a certificate')
    : null
}

function pathOf(url: string): string {
  const [path = ''] = url.split('?', 1)
  return path
}
