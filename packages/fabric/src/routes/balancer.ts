import { ROUTE_BOUNDS, type RouteReliability } from '@countersign/protocol'
import { setDeadline } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import { Refusal } from '../lib/refusal.ts'
import { EjectedError, type SendProgress, UpstreamError } from '../lib/upstream-error.ts'
import {
  AttemptSignal,
  asksAgain,
  boundsOf,
  retryAfterMs,
  type Timer,
  verdictOnFailure,
  verdictOnResponse,
} from './attempt.ts'
import { EndpointHealth } from './endpoint-health.ts'
import { RetryBudget } from './retry-budget.ts'
import { type Route, reliabilityOf } from './routes.ts'
import type { SessionPlaces } from './session-places.ts'
import type {
  BalancedResponse,
  Endpoint,
  Upstream,
  UpstreamRequest,
  UpstreamResponse,
} from './upstream.ts'

/**
 * Methods that are sent once more when a reused connection ended without a byte of a response (RFC
 * 9110, section 9.2.1), on every route. PUT and DELETE are idempotent by the standard and not
 * always by the agent: they need a route that sets `retries.resend`.
 */
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/** Sends to agents, each of which may listen at several endpoints. */
export interface Balancer {
  /**
   * Sends to the less busy of two endpoints at random, the unreachable ones last and ejected ones
   * not at all; a request in an MCP session to the endpoint that opened the session. Sends again if
   * nothing was sent, once for a safe method on a connection that had gone stale, and as the route
   * permits for what `isRepeatable`: a tool call that may have acted is never sent twice. Rejects
   * with an `UpstreamError` for all attempts.
   */
  request(route: Route, request: UpstreamRequest): Promise<BalancedResponse>
}

export interface BalancerOptions {
  readonly timer?: Timer
  /** Absent where no receiver has several endpoints and sessions. */
  readonly sessions?: SessionPlaces
}

export function createBalancer(
  upstream: Upstream,
  random: Random,
  monotonic: () => number,
  { timer = setDeadline, sessions }: BalancerOptions = {},
): Balancer {
  const health = new EndpointHealth(random, monotonic)
  const budget = new RetryBudget()
  const parts: Parts = { upstream, health, sessions, budget, random, timer }
  return {
    async request(route, request) {
      budget.began(route.name)
      try {
        const found = sessions?.find(route, request) ?? null
        const place = found === null ? null : await placeOf(found)
        return await new Sending(parts, place, { route, request }).run()
      } finally {
        budget.ended(route.name)
      }
    },
  }
}

/**
 * The endpoint of the request's session. Without knowing it, the request would end at one that does
 * not know the session.
 */
async function placeOf(found: Promise<string | null>): Promise<string | null> {
  try {
    return await found
  } catch (cause) {
    const says = 'the endpoint of the session could not be read'
    throw new UpstreamError(says, { progress: 'not-sent', cause })
  }
}

interface Parts {
  readonly upstream: Upstream
  readonly health: EndpointHealth
  readonly sessions: SessionPlaces | undefined
  readonly budget: RetryBudget
  readonly random: Random
  readonly timer: Timer
}

/** The end of an attempt after which another one may follow. */
interface Failed {
  /** Of all attempts: if one may have delivered, a later one cannot undo that. */
  readonly progress: SendProgress
  /** May be sent once more by the rule for stale connections. */
  readonly stale: boolean
  readonly endpoint: Endpoint
  readonly cause: UpstreamError
  /** The response that asked for another attempt; null if there was none. */
  readonly response: UpstreamResponse | null
}

/** One request and its attempts. */
class Sending {
  readonly #parts: Parts
  readonly #route: Route
  readonly #request: UpstreamRequest
  readonly #settings: RouteReliability
  readonly #place: string | null
  readonly #tried = new Set<string>()
  #attempts = 0
  #failed: Failed | null = null
  #mayRepeatStale: boolean

  constructor(
    parts: Parts,
    place: string | null,
    { route, request }: { readonly route: Route; readonly request: UpstreamRequest },
  ) {
    this.#parts = parts
    this.#route = route
    this.#request = request
    this.#settings = reliabilityOf(route)
    this.#place = place
    this.#mayRepeatStale = request.isSingle !== true && safeMethods.has(request.method)
  }

  async run(): Promise<BalancedResponse> {
    while (this.#attempts < this.#settings.retries.attempts) {
      const endpoint = this.#next()
      if (endpoint === null) break
      const failed = this.#failed
      const isRepeat = failed !== null && failed.progress === 'sent' && !failed.stale
      if (isRepeat && !(await this.#beginRepeat(endpoint, failed))) break
      try {
        const response = await this.#attempt(endpoint)
        if (!this.#mayAskAgain(response)) {
          const finished = this.#finish(endpoint, response)
          return finished instanceof Promise ? await finished : finished
        }
        this.#failed = { progress: 'sent', stale: false, endpoint, cause: stated, response }
      } catch (cause) {
        this.#fail(endpoint, cause)
        if (!this.#goesOn()) break
      } finally {
        if (isRepeat) this.#parts.budget.give(this.#route.name)
      }
    }
    return this.#end()
  }

  #next(): Endpoint | null {
    const { health } = this.#parts
    const failed = this.#failed
    // No other endpoint knows the session, so trying one would be useless.
    const isBound = this.#tried.size > 0 && this.#place !== null
    const elsewhere = isBound ? null : health.choose(this.#route, this.#place, this.#tried)
    if (elsewhere !== null || failed === null || failed.progress === 'not-sent') return elsewhere
    return health.admits(this.#route, failed.endpoint) ? failed.endpoint : null
  }

  async #attempt(endpoint: Endpoint): Promise<UpstreamResponse> {
    this.#attempts += 1
    this.#tried.add(endpoint.url)
    const { health, upstream, timer } = this.#parts
    const { tryMs } = this.#settings.timeouts
    const isBounded = tryMs < ROUTE_BOUNDS.timeouts.tryMs.max
    const bounded = isBounded ? new AttemptSignal(this.#request.signal, tryMs, timer) : null
    const signal = bounded?.signal ?? this.#request.signal
    const started = health.started(this.#route, endpoint)
    try {
      const response = await upstream.request(endpoint, this.#requestOf(signal))
      health.ended(this.#route, started, verdictOnResponse(response))
      const pauseMs = retryAfterMs(response)
      if (pauseMs !== null) health.asksForPause(started, pauseMs)
      return response
    } catch (cause) {
      health.ended(this.#route, started, verdictOnFailure(cause, signal))
      throw cause
    } finally {
      bounded?.begun()
    }
  }

  /** The request itself where nothing of it differs, which is the most frequent case. */
  #requestOf(signal: AbortSignal): UpstreamRequest {
    const { headersOf, headers } = this.#request
    if (headersOf === undefined && this.#route.reliability === undefined) return this.#request
    return {
      ...this.#request,
      headers: headersOf?.(this.#attempts) ?? headers,
      signal,
      bounds: boundsOf(this.#settings.timeouts),
    }
  }

  #mayAskAgain(response: UpstreamResponse): boolean {
    const { isRepeatable = false, signal } = this.#request
    return isRepeatable && !signal.aborted && asksAgain(response)
  }

  #fail(endpoint: Endpoint, cause: unknown): void {
    const isSent = this.#failed?.progress === 'sent'
    if (!(cause instanceof UpstreamError)) {
      throw isSent ? afterFirst(cause, this.#attempts - 1) : cause
    }
    const stale = cause.stale && this.#mayRepeatStale
    if (stale) this.#mayRepeatStale = false
    const progress = isSent ? 'sent' : cause.progress
    this.#failed = { progress, stale, endpoint, cause, response: null }
  }

  #goesOn(): boolean {
    const { isRepeatable = false, signal } = this.#request
    // A part of it left, so that its stream is read: the caller repeats it, where it may.
    if (this.#failed?.cause.isStated === true) return false
    if (this.#failed?.progress !== 'sent' || this.#failed.stale) return true
    return isRepeatable && !signal.aborted
  }

  /** Takes a place of the budget and waits. False where the request is not to be sent again. */
  async #beginRepeat(endpoint: Endpoint, failed: Failed): Promise<boolean> {
    const { budget } = this.#parts
    const { name } = this.#route
    const { retries } = this.#settings
    const { response } = failed
    // The pause was asked for by one endpoint, and not by another.
    const isSame = response !== null && endpoint === failed.endpoint
    const pauseMs = isSame ? (retryAfterMs(response) ?? 0) : 0
    if (pauseMs > retries.retryAfterMaxMs || !budget.take(name, retries)) return false
    response?.discard()
    this.#failed = { ...failed, response: null }
    await this.#pause(Math.max(pauseMs, this.#backoffMs()))
    if (!this.#request.signal.aborted) return true
    budget.give(name)
    return false
  }

  /** Anything up to the doubled bound, so that callers that failed together come back apart. */
  #backoffMs(): number {
    const { backoffMs, backoffMaxMs } = this.#settings.retries
    const longest = Math.min(backoffMs * 2 ** (this.#attempts - 1), backoffMaxMs)
    return (longest * Buffer.from(this.#parts.random(4)).readUInt32BE(0)) / 2 ** 32
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#request
    return new Promise((resolve) => {
      const end = (): void => {
        cancel()
        signal.removeEventListener('abort', end)
        resolve()
      }
      const cancel = this.#parts.timer(ms, end)
      signal.addEventListener('abort', end)
    })
  }

  #finish(
    endpoint: Endpoint,
    response: UpstreamResponse,
  ): BalancedResponse | Promise<BalancedResponse> {
    const finished = Object.assign(response, {
      attempts: this.#attempts,
      isSecondCopy: this.#failed?.progress === 'sent',
      isProved: endpoint.spiffeId !== null,
    })
    // Before its caller has the id: another process may get the next request.
    const learned = this.#parts.sessions?.learn(this.#route, endpoint, response) ?? null
    return learned === null ? finished : learned.then(() => finished)
  }

  #end(): BalancedResponse | Promise<BalancedResponse> {
    const { name, endpoints } = this.#route
    const failed = this.#failed
    if (failed === null) {
      if (endpoints.length > 0) throw ejected(name, this.#parts.health.dueInMs(this.#route))
      const cause = null
      throw new UpstreamError(`${name} has no endpoint`, { progress: 'not-sent', cause })
    }
    if (failed.response !== null) return this.#finish(failed.endpoint, failed.response)
    const { progress, stale, cause } = failed
    const { message, limit, isStated } = cause
    const attempts = this.#attempts
    throw new UpstreamError(message, { progress, stale, isStated, limit, attempts, cause })
  }
}

/** The cause of an attempt that ended with a response which asks for another one. */
const stated = new UpstreamError('the receiver stated a failure', { progress: 'sent', cause: null })

function ejected(name: string, dueInMs: number): EjectedError {
  const detail = `each endpoint of ${name} is ejected after failures`
  return new EjectedError(new Refusal('RECEIVER_UNREACHABLE', detail, Math.ceil(dueInMs)))
}

/** A second copy that did not leave, because the right to it ended, does not undo the first. */
function afterFirst(cause: unknown, attempts: number): UpstreamError {
  return new UpstreamError(`after the first copy was sent: ${String(cause)}`, {
    ...{ progress: 'sent', attempts, cause },
  })
}
