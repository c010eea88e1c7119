import type { IncomingMessage, Server as PlainServer, ServerResponse } from 'node:http'
import {
  constants,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2'
import type { Server as SecureServer } from 'node:https'
import type { Socket } from 'node:net'
import { GuardedConnection, type TrackedResponse } from './guarded-connection.ts'
import type { BacklogLimits } from './response-backlog.ts'

export type ServedRequest = IncomingMessage | Http2ServerRequest
export type ServedResponse = ServerResponse | Http2ServerResponse

/** The bytes that responses may hold while their peers do not take them. */
export interface ConnectionLimits extends BacklogLimits {
  /** Unsent response bytes of one connection. */
  readonly unsentBytesPerConnection: number
  /** Of all connections of one proved identity. */
  readonly unsentBytesPerIdentity: number
  /** Of one listener. */
  readonly unsentBytesMax: number
  /** A connection that was closed after its last response is read this long, so that it arrives. */
  readonly lingerMs: number
  /** An HTTP/2 connection that has carried no stream for this long ends. */
  readonly idleMs: number
}

const mebibyte = 1024 * 1024

export const CONNECTION_LIMITS: ConnectionLimits = {
  stallMs: 30_000,
  bytesPerSecondMin: 4 * 1024,
  unsentBytesPerConnection: 32 * mebibyte,
  unsentBytesPerIdentity: 64 * mebibyte,
  unsentBytesMax: 128 * mebibyte,
  lingerMs: 2_000,
  idleMs: 120_000,
}

/** Backlogs are sampled this often; a listener without open responses does nothing. */
const sampleMs = 500

export type DropReason = 'stalled' | 'slow' | 'connection' | 'identity' | 'listener' | 'frames'

export interface ConnectionOptions {
  readonly limits?: Partial<ConnectionLimits>
  /** Answers one request. Over HTTP/1.1 it is the only one of its connection at the time. */
  handle(request: ServedRequest, response: ServedResponse): void
  /**
   * The identity that a connection proved, such as a SPIFFE ID; null for an unauthenticated one.
   */
  identityOf?(socket: Socket): string | null
  /** Called for every response that was destroyed for its backlog. */
  onDrop?(reason: DropReason): void
}

export interface Connections {
  /** Response bytes that no peer has taken yet, as last sampled. */
  readonly unsentBytes: number
  readonly count: number
  /** The connection of this request proved an identity by a credential in a request. */
  prove(request: ServedRequest, identity: string): void
  /** Stops accepting; idle connections end at once, others after their response or `graceMs`. */
  close(graceMs: number): Promise<void>
}

type Listener = PlainServer | SecureServer | Http2SecureServer

/**
 * Puts bounds around the responses of a listener: one request at a time on an HTTP/1.1 connection,
 * caps on unsent bytes, deadlines for peers that do not read, and an orderly end. It takes the
 * place of a listener for `request`.
 */
export function guardConnections(server: Listener, options: ConnectionOptions): Connections {
  return new GuardedConnections(server, options)
}

const connections = new WeakMap<object, GuardedConnection>()

/**
 * A piece of a body came that is wanted, over HTTP/2: what else the connection sends is on another
 * account.
 */
export function countPiece(request: ServedRequest, bytes: number): void {
  if (isHttp2(request)) connectionOf(request)?.frames?.piece(bytes)
}

function connectionOf(request: ServedRequest): GuardedConnection | null {
  const key = isHttp2(request) ? request.stream.session : request.socket
  return (key && connections.get(key)) ?? null
}

const invitations = new WeakMap<ServedRequest, () => void>()

/**
 * Answers `Expect: 100-continue` (RFC 9110, section 10.1.1). To be called once the body is wanted:
 * a request that is refused from its head ends its HTTP/1.1 connection without inviting the body.
 */
export function inviteBody(request: ServedRequest): void {
  const invite = invitations.get(request)
  invitations.delete(request)
  invite?.()
}

class GuardedConnections implements Connections {
  readonly #server: Listener
  readonly #options: ConnectionOptions
  readonly #limits: ConnectionLimits
  readonly #open = new Set<GuardedConnection>()
  /** Connections whose TLS handshake is under way, by the peer's address. */
  readonly #handshaking = new Map<string, Socket>()
  #session: ServerHttp2Session | null = null
  #unsent = 0
  /** Time as the samples count it: a process that was stopped has not waited for its peers. */
  #now = 0
  #isClosing = false

  constructor(server: Listener, options: ConnectionOptions) {
    this.#server = server
    this.#options = options
    this.#limits = { ...CONNECTION_LIMITS, ...options.limits }
    const events = server as PlainServer
    const isSecure = 'setSecureContext' in server
    // Node asks for it on plain HTTP servers alone. Without it, the first answer on a new
    // connection waits 40 ms for a client that acknowledges late what TLS sent before it.
    events.on('connection', (socket: Socket) => socket.setNoDelay(true))
    if (isSecure) events.on('connection', (socket: Socket) => this.#handshake(socket))
    // Node's own listener comes first: the session, or the parser, is in place by now.
    events.on('session', (session: ServerHttp2Session) => {
      this.#session = session
    })
    events.on(isSecure ? 'secureConnection' : 'connection', (socket: Socket) => this.#add(socket))
    events.on('request', (request, response) => this.#dispatch(request, response))
    events.on('checkContinue', (request: ServedRequest, response: ServedResponse) => {
      invitations.set(request, () => response.writeContinue())
      this.#dispatch(request, response)
    })
    events.on('checkExpectation', (request, response) => this.#dispatch(request, response))
    const timer = setInterval(() => this.#sample(), sampleMs).unref()
    events.on('close', () => clearInterval(timer))
  }

  get unsentBytes(): number {
    return this.#unsent
  }

  get count(): number {
    return this.#open.size
  }

  prove(request: ServedRequest, identity: string): void {
    const connection = connectionOf(request)
    if (connection !== null) connection.proved = identity
  }

  close(graceMs: number): Promise<void> {
    this.#isClosing = true
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        for (const connection of this.#open) connection.destroy()
      }, graceMs)
      this.#server.close(() => {
        clearTimeout(timer)
        resolve()
      })
      for (const socket of this.#handshaking.values()) socket.destroy()
      for (const connection of this.#open) connection.finish()
    })
  }

  #handshake(socket: Socket): void {
    const key = addressOf(socket)
    this.#handshaking.set(key, socket)
    socket.once('close', () => {
      if (this.#handshaking.get(key) === socket) this.#handshaking.delete(key)
    })
  }

  #add(socket: Socket): void {
    const session = this.#session
    this.#session = null
    this.#handshaking.delete(addressOf(socket))
    const connection = new GuardedConnection({ socket, session, limits: this.#limits })
    connections.set(session ?? socket, connection)
    this.#open.add(connection)
    socket.once('close', () => this.#open.delete(connection))
    if (this.#isClosing) connection.finish()
  }

  #dispatch(request: ServedRequest, response: ServedResponse): void {
    const connection = connectionOf(request)
    if (connection === null) {
      response.destroy()
      return
    }
    if (isHttp2(request) && connection.isFull()) {
      // RFC 9113, section 8.7: nothing was done, and the client may try again.
      request.stream.close(constants.NGHTTP2_REFUSED_STREAM)
      return
    }
    connection.serve(request, response, () => this.#options.handle(request, response))
  }

  #sample(): void {
    this.#now += sampleMs
    const now = this.#now
    const identities = new Map<string, number>()
    for (const connection of this.#open) {
      if (connection.isFlooding(sampleMs)) {
        connection.calm()
        this.#options.onDrop?.('frames')
        continue
      }
      for (const { tracked, fault } of connection.sample(now))
        this.#drop(connection, tracked, fault)
      if (connection.unsent > this.#limits.unsentBytesPerConnection) {
        this.#drop(connection, connection.worst(now), 'connection')
      }
      if (connection.unsent === 0 || connection.isDropped) continue
      const { unsent } = connection
      const identity = this.#identityOf(connection)
      if (identity !== null) identities.set(identity, (identities.get(identity) ?? 0) + unsent)
    }
    for (const [identity, unsent] of identities) {
      if (unsent <= this.#limits.unsentBytesPerIdentity) continue
      const worst = this.#worst(now, (each) => this.#identityOf(each) === identity)
      if (worst !== null) this.#drop(worst, null, 'identity')
    }
    this.#unsent = this.#total()
    this.#evict(now)
  }

  /**
   * A buffer that many send from counts once here, and for each of them in the caps of its reader.
   */
  #total(): number {
    let total = 0
    const shared = new Set<Uint8Array>()
    for (const connection of this.#open) {
      if (connection.isDropped) continue
      total += connection.unsentOwn
      for (const buffer of connection.shared()) shared.add(buffer)
    }
    for (const { length } of shared) total += length
    return total
  }

  /** The total is shared: an authenticated connection never ends for an unauthenticated one. */
  #evict(now: number): void {
    while (this.#unsent > this.#limits.unsentBytesMax) {
      const worst =
        this.#worst(now, (each) => this.#identityOf(each) === null) ?? this.#worst(now, () => true)
      if (worst === null) return
      this.#drop(worst, null, 'listener')
      this.#unsent = this.#total()
    }
  }

  #worst(
    now: number,
    matches: (connection: GuardedConnection) => boolean,
  ): GuardedConnection | null {
    let worst: GuardedConnection | null = null
    for (const each of this.#open) {
      if (each.unsent === 0 || each.isDropped || !matches(each)) continue
      if (worst === null || each.weight(now) > worst.weight(now)) worst = each
    }
    return worst
  }

  #drop(connection: GuardedConnection, tracked: TrackedResponse | null, reason: DropReason): void {
    connection.drop(tracked)
    this.#options.onDrop?.(reason)
  }

  #identityOf(connection: GuardedConnection): string | null {
    connection.proved ??= this.#options.identityOf?.(connection.socket) ?? null
    return connection.proved
  }
}

function addressOf({ remoteAddress = '', remotePort = 0 }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

function isHttp2(request: ServedRequest): request is Http2ServerRequest {
  return request.httpVersionMajor >= 2
}

/**
 * Writes the last bytes of a connection and closes it so that they arrive: a socket that is closed
 * with unread bytes in its buffer is reset by the kernel, and the reset overtakes the answer.
 */
export function endGently(socket: Socket, bytes?: Uint8Array): void {
  if (bytes !== undefined) socket.write(bytes)
  socket.destroySoon()
}
