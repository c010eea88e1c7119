import type { ConnectionOptions } from 'node:tls'
import { type buildConnector, type Dispatcher, errors, Pool } from 'undici'
import { UpstreamError } from '../../lib/upstream-error.ts'
import type {
  Endpoint,
  Upstream,
  UpstreamRequest,
  UpstreamResponse,
} from '../../transports/http/upstream.ts'

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

  function poolFor(endpoint: Endpoint): Pool {
    const { origin } = new URL(endpoint.url)
    const key = `${origin} ${endpoint.spiffeId ?? ''}`
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
        ...(endpoint.spiffeId === null ? {} : tlsOf(options, endpoint.spiffeId)),
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
        const prefix = new URL(endpoint.url).pathname.replace(/\/$/, '')
        return toResponse(await poolFor(endpoint).request(toDispatch(prefix, request)))
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

function toDispatch(prefix: string, request: UpstreamRequest): Dispatcher.RequestOptions {
  return {
    method: request.method,
    path: joinPath(prefix, request.path),
    headers: request.headers.flatMap(([name, value]) => [name, value]),
    body: request.body.length === 0 ? null : request.body,
    signal: request.signal,
  }
}

/** A request for the route itself goes to the endpoint's own path, without a slash made up. */
function joinPath(prefix: string, path: string): string {
  const bare = prefix !== '' && (path === '/' || path.startsWith('/?'))
  return bare ? `${prefix}${path.slice(1)}` : `${prefix}${path}`
}

function toResponse(data: Dispatcher.ResponseData): UpstreamResponse {
  const headers: [string, string][] = []
  for (const [name, value] of Object.entries(data.headers)) {
    if (typeof value === 'string') headers.push([name, value])
    else if (Array.isArray(value)) for (const one of value) headers.push([name, one])
  }
  return {
    status: data.statusCode,
    headers,
    body: data.body,
    discard: () => {
      data.body.on('error', () => undefined)
      data.body.destroy()
    },
  }
}

const unsentCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

function toUpstreamError(cause: unknown): UpstreamError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  const timedOut =
    cause instanceof errors.HeadersTimeoutError || cause instanceof errors.ConnectTimeoutError
  const message = cause instanceof Error ? cause.message : String(cause)
  return new UpstreamError(message, { unsent: unsentCodes.has(code), timedOut, cause })
}

/** undici passes these on to `tls.connect` as they are; only its types are narrower. */
function tlsOf(options: UpstreamOptions, spiffeId: string): buildConnector.BuildOptions {
  return options.tlsFor(spiffeId) as buildConnector.BuildOptions
}
