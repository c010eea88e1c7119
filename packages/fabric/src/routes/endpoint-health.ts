import type { Random } from '../lib/random.ts'
import { RecentResults } from './recent-results.ts'
import { type Route, reliabilityOf } from './routes.ts'
import type { Endpoint } from './upstream.ts'

/**
 * The result of an attempt for its endpoint. `good`: it answers. `unreachable`: no connection.
 * `bad`: it was sent a request and gave no response, or one that states a failure. `none`: the
 * attempt ended for a reason of the caller or of this process; a caller that leaves early ejects no
 * endpoint.
 */
export type Verdict = 'good' | 'unreachable' | 'bad' | 'none'

/** An endpoint that could not be reached is left for last this long, doubling up to the maximum. */
const avoidMsMin = 1_000
const avoidMsMax = 60_000
/** A receiver may ask for as long by `Retry-After`: Linkerd's bound. */
const retryAfterMsMax = 300_000
const endpointsTrackedMax = 10_000
/** Ejections of endpoints that failed together end at different times. */
const jitter = 0.5

interface Health {
  pending: number
  /** Connections in a row that failed. */
  unreachable: number
  /** Until then it comes last. */
  avoidedUntil: number
  /** Failures of any kind in a row. */
  failures: number
  /** Null where the route has no `successPercent`, and after an ejection. */
  recent: RecentResults | null
  /** Ejections in a row; 0 while requests pass. */
  ejections: number
  ejectedUntil: number
  /**
   * After an ejection, one request decides; the others go elsewhere until it has ended, or until
   * `probedUntil`: a caller could let it last for an hour, and then another one decides.
   */
  probe: Started | null
  probedUntil: number
}

/** An attempt under way. */
export interface Started {
  readonly health: Health
  readonly isProbe: boolean
}

/** The endpoints of all routes: which of them answer, and which are ejected for a time. */
export class EndpointHealth {
  readonly #health = new Map<string, Health>()
  readonly #random: Random
  readonly #monotonic: () => number

  constructor(random: Random, monotonic: () => number) {
    this.#random = random
    this.#monotonic = monotonic
  }

  /** Null if none is left, or all of those left are ejected. */
  choose(route: Route, place: string | null, tried: ReadonlySet<string>): Endpoint | null {
    const left = route.endpoints.filter(
      (endpoint) =>
        (place === null || endpoint.url === place) &&
        !tried.has(endpoint.url) &&
        this.admits(route, endpoint),
    )
    if (left.length < 2) return left[0] ?? null
    const now = this.#monotonic()
    const preferred = left.filter((endpoint) => this.#of(route, endpoint).avoidedUntil <= now)
    return this.#pick(route, preferred.length > 0 ? preferred : left)
  }

  /** Reports whether the endpoint is not ejected, or is due for the request that decides. */
  admits(route: Route, endpoint: Endpoint): boolean {
    const health = this.#of(route, endpoint)
    if (health.ejections === 0) return true
    // The other endpoints of the route have gone since.
    if (this.#ejected(route) > this.#ejectedMax(route)) return true
    return dueAt(health) <= this.#monotonic()
  }

  /** Milliseconds until the first of the ejected endpoints is due. */
  dueInMs(route: Route): number {
    const ends = route.endpoints.map((endpoint) => dueAt(this.#of(route, endpoint)))
    return Math.max(0, Math.min(...ends) - this.#monotonic())
  }

  /** Returns the argument for `ended`; the endpoint can have been forgotten by then. */
  started(route: Route, endpoint: Endpoint): Started {
    const health = this.#of(route, endpoint)
    health.pending += 1
    const started = { health, isProbe: health.ejections > 0 }
    if (started.isProbe) {
      health.probe = started
      health.probedUntil = this.#monotonic() + reliabilityOf(route).breaker.ejectMs
    }
    return started
  }

  ended(route: Route, started: Started, verdict: Verdict): void {
    const { health, isProbe } = started
    health.pending -= 1
    const decides = health.probe === started
    if (decides) health.probe = null
    if (verdict === 'none') return
    const isGood = verdict === 'good'
    health.unreachable = verdict === 'unreachable' ? health.unreachable + 1 : 0
    if (verdict === 'unreachable') {
      const waitMs = Math.min(avoidMsMin * 2 ** (health.unreachable - 1), avoidMsMax)
      health.avoidedUntil = this.#monotonic() + waitMs
    } else if (isGood) health.avoidedUntil = 0
    // A request from before the ejection shows what was, not what is.
    if (health.ejections > 0 && !decides && !(isProbe && isGood)) return
    health.failures = isGood ? 0 : health.failures + 1
    this.#remember(route, health, isGood)
    if (!isGood) return this.#mayEject(route, health, decides)
    health.ejections = 0
    health.probe = null
  }

  /** The receiver asked for a pause: others come first, as long as there are any. */
  asksForPause({ health }: Started, ms: number): void {
    health.avoidedUntil = this.#monotonic() + Math.min(ms, retryAfterMsMax)
  }

  #mayEject(route: Route, health: Health, isProbe: boolean): void {
    const { breaker } = reliabilityOf(route)
    const { failures, successPercent, minRequests } = breaker
    const isBelow = health.recent?.isBelow(successPercent, minRequests) ?? false
    if (!isProbe && health.failures < failures && !isBelow) return
    if (!isProbe && this.#ejected(route) >= this.#ejectedMax(route)) return
    const longest = Math.min(breaker.ejectMs * 2 ** health.ejections, breaker.ejectMaxMs)
    const part = Buffer.from(this.#random(4)).readUInt32BE(0) / 2 ** 32
    health.ejections += 1
    // Earlier failures do not count against it when it returns.
    health.recent = null
    health.ejectedUntil = this.#monotonic() + longest * (1 + jitter * part)
  }

  #remember(route: Route, health: Health, isGood: boolean): void {
    const { successPercent, windowMs } = reliabilityOf(route).breaker
    if (successPercent === 0) {
      health.recent = null
      return
    }
    const known = health.recent
    const recent = known?.isOf(windowMs) === true ? known : new RecentResults(windowMs)
    health.recent = recent
    recent.add(isGood, this.#monotonic())
  }

  #ejected(route: Route): number {
    return route.endpoints.filter((each) => this.#of(route, each).ejections > 0).length
  }

  /** Without it, a caller whose requests make an endpoint fail would close the route for others. */
  #ejectedMax(route: Route): number {
    const { ejectedPercent } = reliabilityOf(route).breaker
    return Math.floor((route.endpoints.length * ejectedPercent) / 100)
  }

  #pick(route: Route, from: readonly Endpoint[]): Endpoint | null {
    const bytes = Buffer.from(this.#random(8))
    const a = from[bytes.readUInt32BE(0) % from.length]
    const b = from[bytes.readUInt32BE(4) % from.length]
    if (a === undefined || b === undefined) return null
    return this.#of(route, b).pending < this.#of(route, a).pending ? b : a
  }

  /** Of a route and a URL: the gateway is the endpoint of many agents, each with its own fate. */
  #of({ name }: Route, { url }: Endpoint): Health {
    const key = `${name} ${url}`
    const known = this.#health.get(key)
    if (known !== undefined) return known
    const fresh = {
      ...{ pending: 0, unreachable: 0, avoidedUntil: 0 },
      ...{ failures: 0, recent: null, ejections: 0, ejectedUntil: 0, probe: null, probedUntil: 0 },
    }
    this.#health.set(key, fresh)
    const [oldest] = this.#health.keys()
    if (this.#health.size > endpointsTrackedMax && oldest !== undefined) this.#health.delete(oldest)
    return fresh
  }
}

/** The moment from which the endpoint is due for a request that decides. */
function dueAt({ ejectedUntil, probe, probedUntil }: Health): number {
  return probe === null ? ejectedUntil : Math.max(ejectedUntil, probedUntil)
}
