import { type ClientHttp2Session, connect } from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { formatLimit } from '@countersign/protocol'
import { clientTlsOptions, PeerError } from '@countersign/protocol/tls'
import { buildConnector } from 'undici'
import { UpstreamError } from '../../lib/upstream-error.ts'
import type { Endpoint } from '../../routes/upstream.ts'
import type { Descriptors } from './descriptors.ts'
import type { Dispatched } from './dispatched.ts'
import { EndpointPlaces } from './endpoint-places.ts'
import { type Http2Request, Http2Session } from './http2-session.ts'
import { type Lane, openLane, type ReceiverTls } from './lane.ts'

/** The one name under which the sessions of all endpoints are counted together. */
const everywhere = ''
/** Megabytes of everything that one session holds in native memory. */
const memoryMax = 10

/**
 * A receiver that ends each connection before it takes a request would otherwise have as many
 * handshakes of one request as fit into its wait: hundreds in a second.
 */
const unusedLimit = { name: 'upstream.unusedSessions', value: 3, unit: 'count' } as const

export interface Http2Options {
  tlsFor(spiffeId: string): ReceiverTls
  now(): number
  readonly connectTimeoutMs: number
  readonly connectionsPerEndpointMax: number
  /** At all endpoints together. */
  readonly sessionsMax: number
  /** A session without a request is closed after this long. */
  readonly idleMs: number
  /** Bounds the wait of a request for others of its caller to end; nothing where it began. */
  limitWait(dispatched: Dispatched, session: Pick<Http2Session, 'permitsNone'>): void
  readonly descriptors: Descriptors
  /** Those that stand. */
  readonly lanes: Set<Lane>
}

interface Target {
  readonly origin: string
  readonly spiffeId: string | null
  readonly connectMs: number
  readonly caller: string
}

interface Placed {
  readonly endpoint: string
  readonly caller: string
  readonly session: Http2Session
  /** Gives its places back at once, where the end of its connection would do so later. */
  readonly give: () => void
}

/**
 * Receivers over HTTP/2: by ALPN over TLS, with prior knowledge over plain HTTP. Each caller has a
 * session of its own to a receiver: the streams and the flow control of a session are one
 * allowance, and its errors end all that is on it. The peer proves its identity in the handshake,
 * and is asked for again before each request.
 */
export class Http2Sessions {
  readonly #options: Http2Options
  readonly #open = new Map<string, Promise<Http2Session>>()
  readonly #placed = new Set<Placed>()
  readonly #perEndpoint: EndpointPlaces
  readonly #all: EndpointPlaces
  #isClosed = false

  constructor(options: Http2Options) {
    this.#options = options
    const detail = 'sessions over HTTP/2 to receivers, of which each caller has a share'
    const name = 'upstream.sessions'
    const value = options.connectionsPerEndpointMax
    this.#perEndpoint = new EndpointPlaces({ name, value, unit: 'count' }, detail)
    this.#all = new EndpointPlaces({ name, value: options.sessionsMax, unit: 'count' }, detail)
  }

  async request({ url, spiffeId }: Endpoint, sending: Http2Request): Promise<void> {
    const { request, dispatched } = sending
    const { origin } = new URL(url)
    const { connectMs } = request.bounds ?? { connectMs: this.#options.connectTimeoutMs }
    const target = { origin, spiffeId, connectMs, caller: request.owner }
    try {
      // A session can end before it has a stream for this request.
      for (let tries = 0; tries < unusedLimit.value && !dispatched.isOver; tries += 1) {
        const session = await this.#find(target)
        const sent = session.send(sending)
        this.#options.limitWait(dispatched, session)
        if (await sent) return
      }
      if (!dispatched.isOver) throw endedUnused()
    } catch (cause) {
      dispatched.onResponseError(null, cause)
    }
  }

  /** New requests make new connections; those under way go on. */
  refresh(): void {
    for (const opening of this.#open.values()) {
      opening.then((session) => session.close()).catch(() => undefined)
    }
    this.#open.clear()
  }

  /** Requests that begin later fail, those that wait for a stream now among them. */
  close(): void {
    this.#isClosed = true
    for (const opening of this.#open.values()) {
      opening.then((session) => session.destroy()).catch(() => undefined)
    }
    this.#open.clear()
    for (const { session } of this.#placed) session.destroy()
  }

  async #find(target: Target): Promise<Http2Session> {
    const { origin, spiffeId, connectMs, caller } = target
    const key = `${origin} ${spiffeId ?? ''} ${connectMs} ${caller}`
    const known = this.#open.get(key)
    if (known !== undefined) {
      const session = await known
      if (session.isUsable) return session
      session.close()
      if (this.#open.get(key) === known) this.#open.delete(key)
    }
    return this.#open.get(key) ?? this.#begin(key, target)
  }

  #begin(key: string, target: Target): Promise<Http2Session> {
    if (this.#isClosed) throw new Error('connections to receivers are closed')
    const { origin, spiffeId, caller } = target
    const endpoint = `${origin} ${spiffeId ?? ''}`
    const give = this.#place(endpoint, caller)
    const opening = this.#connect(target)
    this.#open.set(key, opening)
    const forget = (): void => {
      give()
      if (this.#open.get(key) === opening) this.#open.delete(key)
    }
    opening.then((session) => {
      const placed = { endpoint, caller, session, give: forget }
      this.#placed.add(placed)
      session.onClose(() => {
        this.#placed.delete(placed)
        forget()
      })
    }, forget)
    return opening
  }

  /** Takes a place at the endpoint, and one of all; the result gives both back. */
  #place(endpoint: string, caller: string): () => void {
    const give = this.#take(this.#perEndpoint, endpoint, caller)
    try {
      const giveAll = this.#take(this.#all, everywhere, caller)
      return () => {
        give()
        giveAll()
      }
    } catch (cause) {
      give()
      throw cause
    }
  }

  #take(places: EndpointPlaces, endpoint: string, caller: string): () => void {
    const isInTheWay = (placed: Placed): boolean =>
      endpoint === everywhere || placed.endpoint === endpoint
    let isEnded = true
    while (isEnded && !places.hasSpace(endpoint, caller)) {
      isEnded = this.#endIdle(caller, isInTheWay)
    }
    return places.take(endpoint, caller)
  }

  /** Ends a session without a stream, one of the caller's own first; false without one. */
  #endIdle(caller: string, isInTheWay: (placed: Placed) => boolean): boolean {
    const idle = [...this.#placed].filter((each) => each.session.isIdle && isInTheWay(each))
    const chosen = idle.find((each) => each.caller === caller) ?? idle[0]
    if (chosen === undefined) return false
    this.#placed.delete(chosen)
    chosen.give()
    chosen.session.destroy()
    return true
  }

  async #connect({ origin, spiffeId, connectMs }: Target): Promise<Http2Session> {
    const { lanes, now, idleMs } = this.#options
    const tls = spiffeId === null ? null : this.#options.tlsFor(spiffeId)
    const socket = await this.#socket(origin, tls, { receiver: spiffeId ?? origin, connectMs })
    const lane = openLane(socket, { expected: tls, now, isHttp2: true })
    if (lane instanceof PeerError) throw lane
    if (origin.startsWith('https:') && (socket as TLSSocket).alpnProtocol !== 'h2') {
      lane.close()
      throw new Error('the receiver does not offer HTTP/2')
    }
    const session = connect(origin, {
      createConnection: () => socket,
      maxSessionMemory: memoryMax,
      settings: { enablePush: false },
    })
    session.on('error', () => undefined)
    lanes.add(lane)
    socket.once('close', () => lanes.delete(lane))
    await statedSettings(session, connectMs)
    return new Http2Session(session, lane, idleMs)
  }

  #socket(
    origin: string,
    tls: ReceiverTls | null,
    { receiver, connectMs }: { readonly receiver: string; readonly connectMs: number },
  ): Promise<Socket> {
    const { protocol, hostname, host, port } = new URL(origin)
    const options = tls === null ? {} : clientTlsOptions(tls)
    const prefer = { allowH2: true, preferH2: true } as object
    const made = buildConnector({ timeout: connectMs, ...options, ...prefer })
    const bounded = this.#options.descriptors.bound(made, receiver)
    return new Promise((resolve, reject) => {
      bounded({ protocol, hostname: bare(hostname), host, port }, (fault, socket) => {
        if (fault !== null || socket === null) reject(fault ?? new Error('no connection'))
        else resolve(socket)
      })
    })
  }
}

/**
 * Resolves once the receiver has stated its settings, which are its first frame (RFC 9113, section
 * 3.4). Before that, the number of streams that it permits is unknown, and it refuses others.
 */
function statedSettings(session: ClientHttp2Session, ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => session.destroy(), ms)
    session.once('remoteSettings', () => {
      clearTimeout(timer)
      resolve()
    })
    session.once('close', () => {
      clearTimeout(timer)
      reject(new Error('the connection ended before the receiver stated its settings'))
    })
  })
}

function endedUnused(): UpstreamError {
  const limit = formatLimit(unusedLimit)
  const message = 'the receiver ends connections before they carry the request'
  return new UpstreamError(message, { progress: 'not-sent', limit, cause: null })
}

/** An IPv6 address is without its brackets for a connection. */
function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '')
}
