import type { ConnectionOptions } from 'node:tls'
import { PeerError } from '@countersign/protocol/tls'
import { type buildConnector, type Dispatcher, errors, Pool } from 'undici'
import { UpstreamError, WithdrawnError } from '../../lib/upstream-error.ts'
import type { Upstream, UpstreamRequest } from '../../transports/http/upstream.ts'
import { Dispatched } from './dispatched.ts'

export interface UpstreamOptions {
  /** TLS options for a peer that must prove `spiffeId`, from the one TLS module. */
  tlsFor(spiffeId: string): ConnectionOptions
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
  readonly connectionsPerEndpointMax: number
}

/** More receivers than this at once, and the least recently used connection pool is closed. */
const poolsMax = 256

/** Receivers over HTTP/1.1, with undici's pools; TLS identity comes from `tlsFor` and nowhere else. */
export function undiciUpstream(options: UpstreamOptions): Upstream & { refresh(): void } {
  const pools = new Map<string, Pool>()
  const places = new Map<string, Place>()

  function placeOf(url: string): Place {
    const known = places.get(url)
    if (known !== undefined) return known
    const { origin, pathname } = new URL(url)
    const place = { origin, prefix: pathname.replace(/\/$/, '') }
    if (places.size >= poolsMax) places.clear()
    places.set(url, place)
    return place
  }

  function poolFor(origin: string, spiffeId: string | null): Pool {
    const key = `${origin} ${spiffeId ?? ''}`
    const found = pools.get(key)
    if (found !== undefined) {
      pools.delete(key)
      pools.set(key, found)
      return found
    }
    const pool = new Pool(origin, {
      connections: options.connectionsPerEndpointMax,
      pipelining: 1,
      // Silence is normal on event streams; the exchange's own signal ends them.
      bodyTimeout: 0,
      headersTimeout: options.headersTimeoutMs,
      // Shorter than any server's keep-alive, so that a reused connection is rarely a closed one.
      keepAliveTimeout: 4_000,
      connect: {
        timeout: options.connectTimeoutMs,
        ...(spiffeId === null ? {} : tlsOf(options, spiffeId)),
      },
    })
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
      try {
        const { origin, prefix } = placeOf(endpoint.url)
        const dispatched = new Dispatched(request.signal, request.still)
        poolFor(origin, endpoint.spiffeId).dispatch(toDispatch(prefix, request), dispatched)
        return await dispatched.response
      } catch (cause) {
        throw toUpstreamError(cause)
      }
    },
    /** After a certificate rotation: new connections prove the new identity, old ones drain. */
    refresh() {
      for (const pool of pools.values()) pool.close().catch(() => undefined)
      pools.clear()
    },
    async close() {
      const open = [...pools.values()]
      pools.clear()
      await Promise.all(open.map((pool) => pool.destroy()))
    },
  }
}

interface Place {
  readonly origin: string
  /** The path of the endpoint, without a slash at its end. */
  readonly prefix: string
}

function toDispatch(prefix: string, request: UpstreamRequest): Dispatcher.DispatchOptions {
  const headers: string[] = []
  for (const [name, value] of request.headers) headers.push(name, value)
  return {
    method: request.method,
    path: joinPath(prefix, request.path),
    headers,
    body: request.body.length === 0 ? null : request.body,
  }
}

/** A request for the route itself goes to the endpoint's own path, without a slash made up. */
function joinPath(prefix: string, path: string): string {
  const bare = prefix !== '' && (path === '/' || path.startsWith('/?'))
  return bare ? `${prefix}${path.slice(1)}` : `${prefix}${path}`
}

const unsentCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  // How OpenSSL words a server that is not the one we asked for; the handshake ends before any byte.
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

function toUpstreamError(cause: unknown): UpstreamError | WithdrawnError {
  if (cause instanceof WithdrawnError) return cause
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  const timedOut =
    cause instanceof errors.HeadersTimeoutError || cause instanceof errors.ConnectTimeoutError
  const message = cause instanceof Error ? cause.message : String(cause)
  const unsent = cause instanceof PeerError || unsentCodes.has(code)
  return new UpstreamError(message, { unsent, timedOut, cause })
}

/** undici passes these on to `tls.connect` as they are; only its types are narrower. */
function tlsOf(options: UpstreamOptions, spiffeId: string): buildConnector.BuildOptions {
  return options.tlsFor(spiffeId) as buildConnector.BuildOptions
}
