import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { Agent, request as httpsRequest } from 'node:https'
import type { Duplex } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { TLSSocket } from 'node:tls'
import { type HeaderList, parseSpiffeId } from '@countersign/protocol'
import {
  type ClientTlsOptions,
  clientTlsOptions,
  PeerError,
  PeerFault,
  type PeerWatch,
  parseCertificate,
  type TlsCredential,
  type TrustBundles,
  verifyPeer,
  watchPeer,
} from '@countersign/protocol/tls'
import type { Clock } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import { describeNetworkFault } from './network-fault.ts'
import { afterFirst } from './second-copy.ts'
import { type SentBody, sendBody } from './send-body.ts'

export interface ConnectionRequest {
  readonly method: string
  /** Path and query, as they stand in the request line. */
  readonly path: string
  readonly headers: HeaderList
  /** Whole, or sent as a stream: then it is never sent a second time, whatever `repeatable` is. */
  readonly body: Uint8Array | SentBody
  readonly signal?: AbortSignal | undefined
  /** The request may arrive twice without being acted on twice, as one of a safe method may. */
  readonly repeatable: boolean
  /**
   * The headers of a second copy, newly signed: one with the nonce of the first would be refused,
   * and its refusal would hide what became of the first. Absent for what is not signed.
   */
  readonly signAgain?: () => HeaderList
}

/** A response head, and a body that has not been read yet. */
export interface ConnectionResponse {
  readonly status: number
  /** Lower-case names; a repeated name is several pairs. */
  readonly headers: HeaderList
  /** The request was sent before, and what became of that copy is unknown. */
  readonly isSecondCopy: boolean
  /** Ends with BODY_UNFINISHED when the connection broke first. */
  readonly body: AsyncIterable<Uint8Array>
  /** Gives up the rest of the body and the connection with it. */
  discard(): void
}

/** Connections to one fabric, kept alive, each proved to be the fabric of the trust domain. */
export interface FabricConnection {
  /** Host and port, as they stand in the Host field. */
  readonly authority: string
  /**
   * Rejects with FABRIC_UNREACHABLE when nothing was sent, with OUTCOME_UNKNOWN when something was,
   * with the reason of `signal`, or with ROOT_MISMATCHED.
   */
  request(request: ConnectionRequest): Promise<ConnectionResponse>
  /** New connections show `credential`; those that stand finish what they carry. */
  renew(credential: TlsCredential): void
  close(): void
}

export interface FabricConnectionOptions {
  /** Origin of the fabric. */
  readonly url: string
  readonly trustDomain: string
  readonly bundles: TrustBundles
  readonly clock: Clock
  readonly credential?: TlsCredential
}

/** Connections at once; more calls wait for one of them. */
const socketsMax = 128

export function openFabricConnection(options: FabricConnectionOptions): FabricConnection {
  const { hostname, port, host } = new URL(options.url)
  const target = { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 443 : Number(port) }
  let agent = createAgent(options, options.credential)
  let closed = false
  const once = async (request: ConnectionRequest): Promise<ConnectionResponse> => {
    // Lets the end of an idle connection that has arrived already be noticed before it is reused.
    if (Object.keys(agent.freeSockets).length > 0) await nextTurn()
    endOutlived(agent)
    if (closed) throw new AgentError('AGENT_CLOSED')
    return send(request, { ...target, authority: host, agent, options })
  }
  return {
    authority: host,
    async request(request) {
      try {
        return await once(request)
      } catch (error) {
        // Most likely the server closed an idle connection just as it was taken into use again.
        const isRepeatable = request.repeatable && request.body instanceof Uint8Array
        if (!isRepeatable || !(error instanceof StaleConnection)) throw unwrap(error)
        try {
          const headers = request.signAgain?.() ?? request.headers
          return { ...(await once({ ...request, headers })), isSecondCopy: true }
        } catch (second) {
          if (request.signal?.aborted === true) throw second
          throw afterFirst(unwrap(second))
        }
      }
    },
    renew(credential) {
      // Sockets in use finish what they carry, and are then not kept.
      agent.keepAlive = false
      for (const socket of idleOf(agent)) socket.destroy()
      agent = createAgent(options, credential)
    },
    close() {
      closed = true
      agent.destroy()
    },
  }
}

/** Carries a failure of a reused connection, over which no byte of a response came. */
class StaleConnection extends Error {
  readonly failure: AgentError

  constructor(failure: AgentError) {
    super(failure.message)
    this.failure = failure
  }
}

function unwrap(error: unknown): Error {
  if (error instanceof StaleConnection) return error.failure
  return error instanceof Error ? error : new AgentError('FABRIC_UNREACHABLE', String(error))
}

interface KeptAgent extends Agent {
  keepAlive: boolean
}

function createAgent(
  options: FabricConnectionOptions,
  credential: TlsCredential | undefined,
): KeptAgent {
  const agent = new Agent({
    ...fabricTlsOptions(options, credential),
    keepAlive: true,
    maxSockets: socketsMax,
    maxFreeSockets: 16,
    timeout: LIMITS.idleMsMax,
  })
  const connect = agent.createConnection.bind(agent)
  // Here, and not with the first request: one that is aborted at once never gets its connection,
  // which goes to the next.
  agent.createConnection = (...given) => {
    const socket = connect(...given)
    if (socket instanceof TLSSocket) guardSocket(socket, options)
    return socket
  }
  return agent as KeptAgent
}

function idleOf({ freeSockets }: Agent): readonly Duplex[] {
  return Object.values(freeSockets).flatMap((sockets) => sockets ?? [])
}

/**
 * The fabric's certificate can have ended, or its root been removed, since a connection was made.
 */
function endOutlived(agent: Agent): void {
  for (const socket of idleOf(agent)) {
    const fault = watches.get(socket)?.fault() ?? null
    if (fault !== null) socket.destroy()
  }
}

/** Any agent of the domain holds a certificate of the domain; only a fabric may be the fabric. */
function fabricTlsOptions(
  { bundles, trustDomain, clock }: FabricConnectionOptions,
  credential: TlsCredential | undefined,
): ClientTlsOptions {
  const tls = clientTlsOptions({
    bundles,
    now: () => clock.now(),
    expected: { trustDomain },
    alpn: ['http/1.1'],
    ...(credential === undefined ? {} : { credential }),
  })
  return {
    ...tls,
    checkServerIdentity(host, certificate) {
      const fault = tls.checkServerIdentity?.(host, certificate)
      if (fault !== undefined) return fault
      const [uri = ''] = parseCertificate(certificate.raw).alternativeNames?.uris ?? []
      if (parseSpiffeId(uri)?.kind === 'fabric') return undefined
      return new PeerError('the server is not a fabric', new PeerFault('PEER_UNEXPECTED', uri))
    },
  }
}

interface Target {
  readonly host: string
  readonly port: number
  readonly authority: string
  readonly agent: Agent
  readonly options: FabricConnectionOptions
}

function send(request: ConnectionRequest, target: Target): Promise<ConnectionResponse> {
  request.signal?.throwIfAborted()
  return new Promise((resolve, reject) => {
    const out = httpsRequest({
      agent: target.agent,
      host: target.host,
      port: target.port,
      method: request.method,
      path: request.path,
      headers: outgoingHeaders(request, target.authority),
      maxHeaderSize: LIMITS.headerBytesMax,
      setHost: false,
    })
    const onAbort = (): void => {
      out.destroy(abortReason(request.signal))
    }
    request.signal?.addEventListener('abort', onAbort, { once: true })
    out.once('close', () => request.signal?.removeEventListener('abort', onAbort))
    const { body } = request
    const isStreamed = !(body instanceof Uint8Array)
    const progress = watchProgress(out)
    let failure: Error | null = null
    out.once('timeout', () => out.destroy(new Error('it fell silent')))
    out.once('socket', (socket) => {
      // Node leaves the short timeout of an idle connection on it, and would end a slow response.
      socket.setTimeout(isStreamed ? LIMITS.streamIdleMsMax : LIMITS.idleMsMax)
    })
    out.on('error', (error) => {
      failure ??= error
      if (request.signal?.aborted === true) reject(abortReason(request.signal))
      else reject(toFault(error, progress))
    })
    out.once('response', (response) => {
      response.once('close', () => request.signal?.removeEventListener('abort', onAbort))
      // The connection of a request that has failed brings no reason for the end of its response.
      resolve(toResponse(response, () => reasonOf(request.signal, failure)))
    })
    if (isStreamed) sendBody(out, body, untilProved)
    else out.end(body.length === 0 ? undefined : body)
  })
}

function outgoingHeaders(request: ConnectionRequest, authority: string): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = { host: authority }
  for (const [name, value] of request.headers) {
    const present = headers[name]
    headers[name] = present === undefined ? value : [present, value].flat()
  }
  if (!(request.body instanceof Uint8Array)) return headers
  if (request.body.length > 0 || !['GET', 'HEAD', 'DELETE'].includes(request.method)) {
    headers['content-length'] = String(request.body.length)
  }
  return headers
}

/** Connections whose peer is not proved yet: Node holds back what is written to them. */
const unproved = new WeakSet<Duplex>()

/** Never rejects: a connection that fails ends its request with the reason. */
function untilProved(socket: Duplex): Promise<void> {
  if (!unproved.has(socket)) return Promise.resolve()
  // Our own listener of this event comes first, and looks at the peer.
  return new Promise((resolve) => socket.once('secureConnect', () => resolve()))
}

/** Watches that repeat the checks of the handshake on a connection. */
const watches = new WeakMap<Duplex, PeerWatch>()

/** Node looked at the certificate during the handshake; from here on this does. */
function guardSocket(socket: TLSSocket, options: FabricConnectionOptions): void {
  unproved.add(socket)
  const now = (): number => options.clock.now()
  const connecting = setTimeout(() => {
    socket.destroy(new AgentError('FABRIC_UNREACHABLE', 'no connection in time'))
  }, LIMITS.connectMsMax)
  // The request that waits for the socket gets the error; where none waits, the error is dropped.
  socket.on('error', () => undefined)
  socket.once('close', () => clearTimeout(connecting))
  socket.once('secureConnect', () => {
    clearTimeout(connecting)
    const { bundles, trustDomain } = options
    const expected = { bundles, now, expected: { trustDomain } }
    const peer = verifyPeer(socket, expected)
    if (peer instanceof PeerFault) return void socket.destroy(new PeerError(peer.detail, peer))
    unproved.delete(socket)
    watches.set(socket, watchPeer(socket, peer, expected))
  })
}

/** Connections that carried a request. */
const carriers = new WeakSet<Duplex>()

/** The progress of a request, as its connection shows it. */
interface Progress {
  /** False only while no byte can have left: without a connection, or before its peer is proved. */
  isSent(): boolean
  /**
   * True when the connection had carried a request before, and brought nothing back for this one.
   */
  isStale(): boolean
}

/**
 * Asks the connection itself. `reusedSocket` of Node covers connections from the idle list alone,
 * and not one that went straight from a response to a request in the queue.
 */
function watchProgress(out: ClientRequest): Progress {
  let carrier: Duplex | null = null
  let isReused = false
  let isSilent = true
  const onData = (): void => {
    isSilent = false
  }
  out.once('socket', (socket) => {
    carrier = socket
    isReused = carriers.has(socket)
    carriers.add(socket)
    socket.once('data', onData)
    out.once('close', () => socket.off('data', onData))
  })
  return {
    isSent: () => carrier !== null && !unproved.has(carrier),
    isStale: () => isReused && isSilent,
  }
}

function toFault(error: Error, progress: Progress): Error {
  if (isUnfinished(error)) return error
  const code = 'code' in error ? String(error.code) : ''
  const given = { cause: error }
  if (!progress.isSent()) {
    if (error instanceof AgentError) return error
    const isPeer = error instanceof PeerError || certificateFaults.has(code)
    if (isPeer) return new AgentError('ROOT_MISMATCHED', error.message, given)
    return new AgentError('FABRIC_UNREACHABLE', describeNetworkFault(error), given)
  }
  const fault = new AgentError('OUTCOME_UNKNOWN', describeNetworkFault(error), given)
  const isReset = code === 'ECONNRESET' || code === 'EPIPE'
  return isReset && progress.isStale() ? new StaleConnection(fault) : fault
}

/** The codes of OpenSSL for a chain that does not lead to the roots that we pinned. */
const certificateFaults: ReadonlySet<string> = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
])

function isUnfinished(error: unknown): error is AgentError {
  return error instanceof AgentError && error.code === 'REQUEST_UNFINISHED'
}

/** The reason for which this side ended an exchange; null if it did not. */
function reasonOf(signal: AbortSignal | undefined, failure: Error | null): Error | null {
  if (signal?.aborted === true) return abortReason(signal)
  return isUnfinished(failure) ? failure : null
}

function toResponse(response: IncomingMessage, ownReason: () => Error | null): ConnectionResponse {
  const headers: [string, string][] = []
  for (let at = 0; at + 1 < response.rawHeaders.length; at += 2) {
    headers.push([(response.rawHeaders[at] ?? '').toLowerCase(), response.rawHeaders[at + 1] ?? ''])
  }
  return {
    status: response.statusCode ?? 0,
    headers,
    isSecondCopy: false,
    body: readBody(response, ownReason),
    discard: () => {
      response.on('error', () => undefined)
      response.destroy()
    },
  }
}

async function* readBody(
  response: IncomingMessage,
  ownReason: () => Error | null,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response as AsyncIterable<Uint8Array>) yield chunk
  } catch (cause) {
    throw ownReason() ?? new AgentError('BODY_UNFINISHED', '', { cause })
  }
  if (!response.complete) throw ownReason() ?? new AgentError('BODY_UNFINISHED')
}

function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason
  return reason instanceof Error ? reason : new DOMException('the call was aborted', 'AbortError')
}
