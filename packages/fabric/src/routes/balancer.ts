import type { Random } from '../lib/random.ts'
import { type SendProgress, UpstreamError } from '../lib/upstream-error.ts'
import type { Route } from './routes.ts'
import { SessionTable } from './session-table.ts'
import type {
  BalancedResponse,
  Endpoint,
  Upstream,
  UpstreamRequest,
  UpstreamResponse,
} from './upstream.ts'

/** Tries at most so many endpoints, and another one only when the one before has done nothing. */
const attemptsMax = 3
/**
 * Methods that are sent once more when a reused connection ended without a byte of a response (RFC
 * 9110, section 9.2.1). PUT and DELETE are idempotent by the standard and not always by the agent.
 */
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD'])
/**
 * An endpoint that could not be reached is left alone for this long, doubling up to the maximum.
 */
const ejectMsMin = 1_000
const ejectMsMax = 60_000
const endpointsTrackedMax = 10_000

interface Health {
  pending: number
  failures: number
  ejectedUntil: number
}

/** Sends to agents, each of which may listen at several endpoints. */
export interface Balancer {
  /**
   * Sends to the less busy of two endpoints at random, the unreachable ones last; a request in an
   * MCP session to the endpoint that opened the session. Tries another one only when the first
   * cannot have seen the request, or once for a safe method on a connection that had gone stale: a
   * tool call that may have acted is never sent twice. Rejects with an `UpstreamError` for all
   * attempts.
   */
  request(route: Route, request: UpstreamRequest): Promise<BalancedResponse>
}

export function createBalancer(
  upstream: Upstream,
  random: Random,
  monotonic: () => number,
): Balancer {
  const health = new EndpointHealth(random, monotonic)
  const sessions = new SessionPlaces()

  async function attempt(endpoint: Endpoint, request: UpstreamRequest): Promise<UpstreamResponse> {
    const state = health.started(endpoint)
    try {
      const response = await upstream.request(endpoint, request)
      health.ended(state, true)
      return response
    } catch (cause) {
      health.ended(state, !(cause instanceof UpstreamError && cause.progress === 'not-sent'))
      throw cause
    }
  }

  return {
    async request(route, request) {
      const place = sessions.find(route, request)
      const tried = new Set<string>()
      let mayRepeat = safeMethods.has(request.method)
      let failure: Failed | null = null
      let attempts = 0
      while (attempts < attemptsMax) {
        // No other endpoint knows the session, so trying one would be useless.
        const elsewhere =
          tried.size > 0 && place !== null ? null : health.choose(route, place, tried)
        const endpoint = elsewhere ?? (failure?.stale === true ? find(route, failure.url) : null)
        if (endpoint === null) break
        attempts += 1
        tried.add(endpoint.url)
        try {
          const response = await attempt(endpoint, request)
          sessions.learn(route, endpoint, response)
          const isSecondCopy = failure?.progress === 'sent'
          const isProved = endpoint.spiffeId !== null
          return Object.assign(response, { attempts, isSecondCopy, isProved })
        } catch (cause) {
          if (!(cause instanceof UpstreamError)) {
            throw failure?.progress === 'sent' ? afterFirst(cause, attempts - 1) : cause
          }
          failure = failed(cause, { before: failure, url: endpoint.url, mayRepeat })
          if (failure.progress === 'sent' && !failure.stale) break
          if (failure.stale) mayRepeat = false
        }
      }
      failure ??= unreachable(`${route.name} has no endpoint`)
      throw new UpstreamError(failure.cause.message, {
        ...failure,
        attempts: Math.max(attempts, 1),
      })
    },
  }
}

/** A second copy that did not leave, because the right to it ended, does not undo the first. */
function afterFirst(cause: unknown, attempts: number): UpstreamError {
  return new UpstreamError(`after the first copy was sent: ${String(cause)}`, {
    ...{ progress: 'sent', attempts, cause },
  })
}

interface Failed {
  readonly progress: SendProgress
  readonly stale: boolean
  /** The URL of the last attempt. */
  readonly url: string
  readonly cause: UpstreamError
}

function unreachable(message: string): Failed {
  const cause = new UpstreamError(message, { progress: 'not-sent', cause: null })
  return { progress: 'not-sent', stale: false, url: '', cause }
}

/**
 * Combines the failures of all attempts so far: if one may have delivered, a later one cannot undo
 * that.
 */
function failed(
  cause: UpstreamError,
  { before, url, mayRepeat }: { before: Failed | null; url: string; mayRepeat: boolean },
): Failed {
  const progress = before?.progress === 'sent' ? 'sent' : cause.progress
  return { progress, stale: cause.stale && mayRepeat, url, cause }
}

function find({ endpoints }: Route, url: string): Endpoint | null {
  return endpoints.find((endpoint) => endpoint.url === url) ?? null
}

class EndpointHealth {
  readonly #health = new Map<string, Health>()
  readonly #random: Random
  readonly #monotonic: () => number

  constructor(random: Random, monotonic: () => number) {
    this.#random = random
    this.#monotonic = monotonic
  }

  choose({ endpoints }: Route, place: string | null, tried: ReadonlySet<string>): Endpoint | null {
    const left = endpoints.filter(({ url }) => (place === null || url === place) && !tried.has(url))
    if (left.length < 2) return left[0] ?? null
    const now = this.#monotonic()
    const healthy = left.filter((endpoint) => this.#of(endpoint).ejectedUntil <= now)
    return this.#pick(healthy.length > 0 ? healthy : left)
  }

  /** Returns the argument for `ended`; the endpoint can have been forgotten by then. */
  started(endpoint: Endpoint): Health {
    const state = this.#of(endpoint)
    state.pending += 1
    return state
  }

  ended(state: Health, reached: boolean): void {
    state.pending -= 1
    state.failures = reached ? 0 : state.failures + 1
    const waitMs = Math.min(ejectMsMin * 2 ** (state.failures - 1), ejectMsMax)
    state.ejectedUntil = reached ? 0 : this.#monotonic() + waitMs
  }

  #pick(from: readonly Endpoint[]): Endpoint | null {
    const bytes = Buffer.from(this.#random(8))
    const a = from[bytes.readUInt32BE(0) % from.length]
    const b = from[bytes.readUInt32BE(4) % from.length]
    if (a === undefined || b === undefined) return null
    return this.#of(b).pending < this.#of(a).pending ? b : a
  }

  #of({ url }: Endpoint): Health {
    const known = this.#health.get(url)
    if (known !== undefined) return known
    const fresh = { pending: 0, failures: 0, ejectedUntil: 0 }
    this.#health.set(url, fresh)
    const [oldest] = this.#health.keys()
    if (this.#health.size > endpointsTrackedMax && oldest !== undefined) this.#health.delete(oldest)
    return fresh
  }
}

const sessionHeader = 'mcp-session-id'

/**
 * The endpoint that opened each MCP session (up to 2025-11-25): the agent's other endpoints do not
 * know it.
 */
class SessionPlaces {
  /** A session that was forgotten goes to any endpoint. */
  readonly #places = new SessionTable<string>()

  /** Null without a session, or if its endpoint is not one of the route's any more. */
  find({ name, endpoints }: Route, { headers }: UpstreamRequest): string | null {
    if (endpoints.length < 2) return null
    const session = headers.find(([field]) => field === sessionHeader)?.[1]
    const place = session === undefined ? null : this.#places.find(name, session)
    return place !== null && endpoints.some(({ url }) => url === place) ? place : null
  }

  learn({ name, endpoints }: Route, { url }: Endpoint, { headers }: UpstreamResponse): void {
    if (endpoints.length < 2) return
    const session = headers.find(([field]) => field.toLowerCase() === sessionHeader)?.[1]
    if (session !== undefined) this.#places.set(name, session, url)
  }
}
