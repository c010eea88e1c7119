import { endMemory, formatLimit } from '@countersign/protocol'
import type { Dispatcher } from 'undici'
import { overLimit } from '../../lib/limits.ts'
import { OutOfSpaceError, UpstreamError } from '../../lib/upstream-error.ts'
import type { Endpoint, Upstream, UpstreamBounds, UpstreamRequest } from '../../routes/upstream.ts'
import { ConnectionPlaces } from './connection-places.ts'
import { Descriptors } from './descriptors.ts'
import { Dispatched } from './dispatched.ts'
import { EndpointPlaces } from './endpoint-places.ts'
import { Http2Sessions } from './http2-sessions.ts'
import type { Lane, ReceiverTls } from './lane.ts'
import { Pools } from './pools.ts'

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

/** Addresses whose parts are remembered. */
const placesMax = 256

/**
 * Receivers over HTTP/1.1, with undici's pools, or over HTTP/2 for requests that need it; TLS
 * identity comes from `tlsFor` and nowhere else.
 */
export function undiciUpstream(options: UpstreamOptions): Upstream & { refresh(): void } {
  const descriptors = new Descriptors(options.connectionsMax)
  const placeOf = rememberPlaces()
  const lanes = new Set<Lane>()
  const {
    waitMs = connectionWaitMs,
    idleMs = connectionIdleMs,
    sessionsMax = http2SessionsMax,
  } = options
  const limitWait = (dispatched: Dispatched, session?: { readonly permitsNone: boolean }): void =>
    dispatched.waitAtMost(waitMs, () =>
      session?.permitsNone === true ? noStream(waitMs) : noConnection(waitMs),
    )
  const parts = { ...options, idleMs, sessionsMax, limitWait, descriptors, lanes }
  const pools = new Pools(parts)
  const sessions = new Http2Sessions(parts)
  const streams = streamPlaces(Math.floor(options.connectionsPerEndpointMax / 2))
  const http2Streams = streamPlaces(http2StreamsMax)
  const connections = new ConnectionPlaces(options.connectionsPerEndpointMax)

  return {
    async request(endpoint, request) {
      const { origin, prefix } = placeOf(endpoint.url)
      // Of one origin, whatever the path, as connections are.
      const receiver = `${origin} ${endpoint.spiffeId ?? ''}`
      const connectMs = request.bounds?.connectMs ?? options.connectTimeoutMs
      // Connectors carry every stream over HTTP/1.1, with the trailers of gRPC.
      if (request.isHttp2 === true && endpoint.connector !== true) {
        const dispatched = begin(request, endpoint, () =>
          http2Streams.take(receiver, request.owner),
        )
        const path = joinPath(prefix, request.path)
        void sessions.request(endpoint, { request, dispatched, path })
        return await dispatched.response
      }
      const dispatched = begin(request, endpoint, () => streams.take(receiver, request.owner))
      const body = bodyOf(request, dispatched)
      const dispatch = toDispatch(prefix, { ...request, body }, options.headersTimeoutMs)
      connections.enter(receiver, request.owner, dispatched, () => {
        pools.dispatch({ origin, spiffeId: endpoint.spiffeId, connectMs }, dispatch, dispatched)
      })
      // Others may have every connection for as long as they like.
      limitWait(dispatched)
      return await dispatched.response
    },
    /**
     * After a change of certificates, enrolments or roots: new connections prove the new identity,
     * old ones drain, except those whose peer no longer stands, which end at once.
     */
    refresh() {
      for (const lane of lanes) lane.look()
      pools.refresh()
      sessions.refresh()
    },
    async close() {
      sessions.close()
      await pools.close()
    },
  }
}

/** From here on, the place of a stream is given back however the request ends. */
function begin(
  request: UpstreamRequest,
  endpoint: Endpoint,
  takePlace: () => () => void,
): Dispatched {
  if (request.stream === undefined) return new Dispatched(request, endpoint)
  const give = takePlace()
  const dispatched = new Dispatched(request, endpoint)
  dispatched.onOver(give)
  return dispatched
}

function streamPlaces(value: number): EndpointPlaces {
  const detail = 'streamed requests at one endpoint, of which each caller has a share'
  return new EndpointPlaces({ name: 'upstream.streams', value, unit: 'count' }, detail)
}

const waitLimit = (value: number) => ({ name: 'upstream.waitMs', value, unit: 'ms' }) as const

/** The receiver states zero for its streams, and not a moment later another number. */
function noStream(value: number): UpstreamError {
  const limit = formatLimit(waitLimit(value))
  const message = 'the receiver permits no stream on its connection'
  return new UpstreamError(message, { progress: 'not-sent', limit, cause: null })
}

function noConnection(value: number): OutOfSpaceError {
  const limit = waitLimit(value)
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
    if (places.size >= placesMax) places.clear()
    places.set(url, place)
    return place
  }
}

function toDispatch(
  prefix: string,
  request: Pick<UpstreamRequest, 'method' | 'path' | 'headers' | 'bounds'> & {
    readonly body: Uint8Array | null
  },
  headersTimeoutMs: number,
): Dispatcher.DispatchOptions {
  const headers: string[] = []
  for (const [name, value] of request.headers) headers.push(name, value)
  return {
    method: request.method,
    path: joinPath(prefix, request.path),
    headers,
    body: request.body,
    ...(request.bounds === undefined ? {} : timeoutsOf(request.bounds, headersTimeoutMs)),
  }
}

/** undici takes iterables as well, and reads one piece when the last one is written. */
function bodyOf({ stream, body }: UpstreamRequest, dispatched: Dispatched): Uint8Array | null {
  if (stream !== undefined) return endingMemory(stream, dispatched) as unknown as Uint8Array
  return body.length === 0 ? null : body
}

/**
 * Gives the memory of each piece back once it has left. The garbage collector counts buffers by
 * their headers, and lets up to 64 MiB of them wait.
 */
async function* endingMemory(
  stream: AsyncIterable<Uint8Array>,
  dispatched: Dispatched,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const piece of stream) {
    yield piece
    // undici asks for the next piece also while a small one waits in the socket.
    if (dispatched.hasLeft) endMemory(piece)
  }
}

function timeoutsOf({ firstByteMs, idleMs }: UpstreamBounds, headersTimeoutMs: number) {
  return { headersTimeout: Math.min(firstByteMs, headersTimeoutMs), bodyTimeout: idleMs }
}

/** A request for the route itself goes to the endpoint's own path, without a slash made up. */
function joinPath(prefix: string, path: string): string {
  const bare = prefix !== '' && (path === '/' || path.startsWith('/?'))
  return bare ? `${prefix}${path.slice(1)}` : `${prefix}${path}`
}
