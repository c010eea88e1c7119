import { clientTlsOptions } from '@countersign/protocol/tls'
import { type buildConnector, Client, type Dispatcher, Pool } from 'undici'
import { overLimit } from '../../lib/limits.ts'
import { OutOfSpaceError } from '../../lib/upstream-error.ts'
import type { Endpoint, Upstream, UpstreamBounds, UpstreamRequest } from '../../routes/upstream.ts'
import { Descriptors } from './descriptors.ts'
import { Dispatched } from './dispatched.ts'
import { EndpointPlaces } from './endpoint-places.ts'
import { Http2Sessions } from './http2-sessions.ts'
import { type Lane, openLane, type ReceiverTls } from './lane.ts'

export type { ReceiverTls }

export interface UpstreamOptions {
  /**
   * For a peer that must prove `spiffeId`: asked in the handshake, and of each request's
   * connection.
   */
  tlsFor(spiffeId: string): ReceiverTls
  /** Unix milliseconds. */
  now(): number
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
  readonly connectionsPerEndpointMax: number
  /** To all receivers together; null where the system sets no limit. */
  readonly connectionsMax: number | null
  /** The longest wait of a request for one of the connections of its endpoint. */
  readonly waitMs?: number
  /** A connection without a request is closed after this long. */
  readonly idleMs?: number
  /** Connections over HTTP/2, to all receivers together. */
  readonly sessionsMax?: number
}

const connectionWaitMs = 10_000
/** They are many where many callers stream to many receivers; descriptors bound them as well. */
const http2SessionsMax = 512
/** Over HTTP/2; half of the connections over HTTP/1.1, which a stream has to itself. */
const http2StreamsMax = 100

/** Shorter than any server's keep-alive, so that a reused connection is rarely a closed one. */
const connectionIdleMs = 4_000

/** More receivers than this at once, and the least recently used connection pool is closed. */
const poolsMax = 256

/**
 * Receivers over HTTP/1.1, with undici's pools, or over HTTP/2 for requests that need it; TLS
 * identity comes from `tlsFor` and nowhere else.
 */
export function undiciUpstream(options: UpstreamOptions): Upstream & { refresh(): void } {
  const descriptors = new Descriptors(options.connectionsMax)
  const pools = new Map<string, Pool>()
  const placeOf = rememberPlaces()
  const lanes = new Set<Lane>()
  const {
    waitMs = connectionWaitMs,
    idleMs = connectionIdleMs,
    sessionsMax = http2SessionsMax,
  } = options
  const limitWait = (dispatched: Dispatched): void =>
    dispatched.waitAtMost(waitMs, () => noConnection(waitMs))
  const parts = { ...options, idleMs, sessionsMax, limitWait, descriptors, lanes }
  const sessions = new Http2Sessions(parts)
  const streams = streamPlaces(Math.floor(options.connectionsPerEndpointMax / 2))
  const http2Streams = streamPlaces(http2StreamsMax)

  function poolFor(origin: string, spiffeId: string | null, connectMs: number): Pool {
    const key = `${origin} ${spiffeId ?? ''} ${connectMs}`
    const found = pools.get(key)
    if (found !== undefined) {
      pools.delete(key)
      pools.set(key, found)
      return found
    }
    const pool = newPool(parts, { origin, spiffeId, connectMs })
    pools.set(key, pool)
    const [oldest] = pools
    if (pools.size > poolsMax && oldest !== undefined) {
      pools.delete(oldest[0])
      oldest[1].close().catch(() => undefined)
    }
    return pool
  }

  return {
    async request(endpoint, request) {
      const { origin, prefix } = placeOf(endpoint.url)
      const connectMs = request.bounds?.connectMs ?? options.connectTimeoutMs
      if (request.isHttp2 === true) {
        const dispatched = begin(http2Streams, endpoint, request)
        const path = joinPath(prefix, request.path)
        void sessions.request(endpoint, { request, dispatched, path })
        return await dispatched.response
      }
      const pool = poolFor(origin, endpoint.spiffeId, connectMs)
      const dispatch = toDispatch(prefix, request, options.headersTimeoutMs)
      const dispatched = begin(streams, endpoint, request)
      // Others may have every connection for as long as they like.
      if (!pool.dispatch(dispatch, dispatched)) limitWait(dispatched)
      return await dispatched.response
    },
    /**
     * After a change of certificates, enrolments or roots: new connections prove the new identity,
     * old ones drain, except those whose peer no longer stands, which end at once.
     */
    refresh() {
      for (const lane of lanes) lane.look()
      for (const pool of pools.values()) pool.close().catch(() => undefined)
      pools.clear()
      sessions.refresh()
    },
    async close() {
      const open = [...pools.values()]
      pools.clear()
      sessions.close()
      await Promise.all(open.map((pool) => pool.destroy()))
    },
  }
}

type PoolParts = UpstreamOptions &
  Pick<LaneParts, 'descriptors' | 'lanes'> & { readonly idleMs: number }

interface PoolOf {
  readonly origin: string
  readonly spiffeId: string | null
  readonly connectMs: number
}

function newPool(options: PoolParts, { origin, spiffeId, connectMs }: PoolOf): Pool {
  // Instances of one agent are one receiver.
  const receiver = spiffeId ?? origin
  const { descriptors, lanes, idleMs } = options
  const tls = spiffeId === null ? null : options.tlsFor(spiffeId)
  return new Pool(origin, {
    connections: options.connectionsPerEndpointMax,
    pipelining: 1,
    allowH2: false,
    factory: (place, given) =>
      laneClient(place, given, { descriptors, receiver, tls, lanes, now: options.now }),
    // Silence is normal on event streams; the exchange's own signal ends them.
    bodyTimeout: 0,
    headersTimeout: options.headersTimeoutMs,
    keepAliveTimeout: idleMs,
    // A receiver's Keep-Alive field can shorten it, never prolong it.
    keepAliveMaxTimeout: idleMs,
    connect: {
      timeout: connectMs,
      ...(tls === null ? {} : clientTlsOptions(tls)),
    },
  })
}

/** From here on, the place of a stream is given back however the request ends. */
function begin(streams: EndpointPlaces, endpoint: Endpoint, request: UpstreamRequest): Dispatched {
  if (request.stream === undefined) return new Dispatched(request, endpoint)
  // Of one origin, whatever the path, as connections are.
  const receiver = `${new URL(endpoint.url).origin} ${endpoint.spiffeId ?? ''}`
  const give = streams.take(receiver, request.caller ?? '')
  const dispatched = new Dispatched(request, endpoint)
  dispatched.onOver(give)
  return dispatched
}

function streamPlaces(value: number): EndpointPlaces {
  const detail = 'streamed requests at one endpoint, of which each caller has a share'
  return new EndpointPlaces({ name: 'upstream.streams', value, unit: 'count' }, detail)
}

function noConnection(value: number): OutOfSpaceError {
  const limit = { name: 'upstream.waitMs', value, unit: 'ms' } as const
  const detail = 'other requests take all that the endpoint permits'
  return new OutOfSpaceError(overLimit('OVERLOADED', limit, detail, 1_000))
}

interface Place {
  readonly origin: string
  /** The path of the endpoint, without a slash at its end. */
  readonly prefix: string
}

/** Parses each address once. */
function rememberPlaces(): (url: string) => Place {
  const places = new Map<string, Place>()
  return (url) => {
    const known = places.get(url)
    if (known !== undefined) return known
    const { origin, pathname } = new URL(url)
    const place = { origin, prefix: pathname.replace(/\/$/, '') }
    if (places.size >= poolsMax) places.clear()
    places.set(url, place)
    return place
  }
}

function toDispatch(
  prefix: string,
  request: UpstreamRequest,
  headersTimeoutMs: number,
): Dispatcher.DispatchOptions {
  const headers: string[] = []
  for (const [name, value] of request.headers) headers.push(name, value)
  return {
    method: request.method,
    path: joinPath(prefix, request.path),
    headers,
    body: bodyOf(request),
    ...(request.bounds === undefined ? {} : timeoutsOf(request.bounds, headersTimeoutMs)),
  }
}

/** undici takes iterables as well, and reads one piece when the last one is written. */
function bodyOf({ stream, body }: UpstreamRequest): Uint8Array | null {
  if (stream !== undefined) return stream as unknown as Uint8Array
  return body.length === 0 ? null : body
}

function timeoutsOf({ firstByteMs, idleMs }: UpstreamBounds, headersTimeoutMs: number) {
  return { headersTimeout: Math.min(firstByteMs, headersTimeoutMs), bodyTimeout: idleMs }
}

/** A request for the route itself goes to the endpoint's own path, without a slash made up. */
function joinPath(prefix: string, path: string): string {
  const bare = prefix !== '' && (path === '/' || path.startsWith('/?'))
  return bare ? `${prefix}${path.slice(1)}` : `${prefix}${path}`
}

/** One connection after another of a pool; each shows what its receiver can have seen. */
class LaneClient extends Client {
  readonly #findLane: () => Lane | null

  constructor(origin: URL, options: Client.Options, findLane: () => Lane | null) {
    super(origin, options)
    this.#findLane = findLane
  }

  override dispatch(
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    if (handler instanceof Dispatched) handler.takeLane(this.#findLane)
    const lane = this.#findLane()
    // The client makes another connection for this request, in whose handshake the peer is asked.
    if (lane !== null && lane.fault() !== null && this.stats.running === 0) lane.close()
    return super.dispatch(options, handler)
  }
}

interface LaneParts {
  readonly descriptors: Descriptors
  readonly receiver: string
  /** Null for a receiver that proves no SPIFFE ID. */
  readonly tls: ReceiverTls | null
  /** Those that stand. */
  readonly lanes: Set<Lane>
  readonly now: () => number
}

function laneClient(
  origin: URL,
  options: object,
  { descriptors, receiver, tls, lanes, now }: LaneParts,
): Dispatcher {
  // The pool has made the connector already, so that all clients share it.
  const { connect } = options as { readonly connect: buildConnector.connector }
  let lane: Lane | null = null
  const bounded = descriptors.bound(connect, receiver)
  const connected: buildConnector.connector = (target, done) => {
    bounded(target, (...result) => {
      const [fault, socket] = result
      lane = null
      if (fault !== null || socket === null) return done(...result)
      const opened = openLane(socket, { expected: tls, now })
      if (opened instanceof Error) return done(opened, null)
      lane = opened
      lanes.add(opened)
      socket.once('close', () => lanes.delete(opened))
      done(...result)
    })
  }
  return new LaneClient(origin, { ...options, connect: connected }, () => lane)
}
