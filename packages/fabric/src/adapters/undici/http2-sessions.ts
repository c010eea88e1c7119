import { type ClientHttp2Session, connect } from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { clientTlsOptions, PeerError } from '@countersign/protocol/tls'
import { buildConnector } from 'undici'
import type { Endpoint, UpstreamRequest } from '../../routes/upstream.ts'
import type { Descriptors } from './descriptors.ts'
import type { Dispatched } from './dispatched.ts'
import { Http2Exchange } from './http2-exchange.ts'
import { type Lane, openLane, type ReceiverTls } from './lane.ts'

/** A connection without a request is closed after this long, as those of HTTP/1.1 are. */
const idleMs = 4_000
/** More receivers at once than this, and the connection that was opened first takes no more. */
const sessionsMax = 256
/** Megabytes of everything that one session holds in native memory. */
const memoryMax = 10

export interface Http2Options {
  tlsFor(spiffeId: string): ReceiverTls
  now(): number
  readonly connectTimeoutMs: number
  readonly descriptors: Descriptors
  /** Those that stand. */
  readonly lanes: Set<Lane>
}

interface Opened {
  readonly session: ClientHttp2Session
  readonly lane: Lane
}

/**
 * Receivers over HTTP/2: by ALPN over TLS, with prior knowledge over plain HTTP. One connection for
 * each receiver, on which its requests do not wait for one another; its peer proves its identity in
 * the handshake, and is asked for again before each request.
 */
export class Http2Sessions {
  readonly #options: Http2Options
  readonly #open = new Map<string, Promise<Opened>>()

  constructor(options: Http2Options) {
    this.#options = options
  }

  async request(
    { url, spiffeId }: Endpoint,
    { request, dispatched, path }: Http2Request,
  ): Promise<void> {
    const { origin } = new URL(url)
    const connectMs = request.bounds?.connectMs ?? this.#options.connectTimeoutMs
    try {
      const opened = await this.#find(`${origin} ${spiffeId ?? ''} ${connectMs}`, () =>
        this.#connect(origin, spiffeId, connectMs),
      )
      new Http2Exchange(dispatched, opened.lane).send(opened.session, request, path)
    } catch (cause) {
      dispatched.onResponseError(null, cause)
    }
  }

  /** New requests make new connections; those under way go on. */
  refresh(): void {
    for (const opening of this.#open.values()) {
      opening.then(({ session }) => session.close()).catch(() => undefined)
    }
    this.#open.clear()
  }

  async close(): Promise<void> {
    const all = [...this.#open.values()]
    this.#open.clear()
    await Promise.all(
      all.map((one) =>
        one.then(
          ({ session }) => session.destroy(),
          () => undefined,
        ),
      ),
    )
  }

  async #find(key: string, open: () => Promise<Opened>): Promise<Opened> {
    const known = this.#open.get(key)
    if (known !== undefined) {
      const { session, lane } = await known
      // Its peer was good in the handshake, maybe an hour ago.
      if (!session.closed && !session.destroyed && lane.fault() === null) return known
      session.close()
      if (this.#open.get(key) === known) this.#open.delete(key)
    }
    const opening = this.#open.get(key) ?? open()
    this.#open.set(key, opening)
    const forget = (): void => {
      if (this.#open.get(key) === opening) this.#open.delete(key)
    }
    opening.then(({ session }) => session.once('close', forget), forget)
    const [oldest] = this.#open
    if (this.#open.size > sessionsMax && oldest !== undefined) {
      this.#open.delete(oldest[0])
      oldest[1].then(({ session }) => session.close()).catch(() => undefined)
    }
    return opening
  }

  async #connect(origin: string, spiffeId: string | null, connectMs: number): Promise<Opened> {
    const { lanes, now } = this.#options
    const tls = spiffeId === null ? null : this.#options.tlsFor(spiffeId)
    const socket = await this.#socket(origin, tls, { receiver: spiffeId ?? origin, connectMs })
    const lane = openLane(socket, { expected: tls, now, countsBytes: false })
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
    // A session that still has streams ends after the last of them.
    session.setTimeout(idleMs, () => session.close())
    lanes.add(lane)
    socket.once('close', () => lanes.delete(lane))
    return { session, lane }
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

export interface Http2Request {
  readonly request: UpstreamRequest
  readonly dispatched: Dispatched
  /** The path at the receiver. */
  readonly path: string
}

/** An IPv6 address is without its brackets for a connection. */
function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '')
}
