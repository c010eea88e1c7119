import type { Random } from '../../lib/random.ts'
import { Refusal } from '../../lib/refusal.ts'
import { UpstreamError } from '../../lib/upstream-error.ts'
import type { Route } from '../http/routes.ts'
import type { Endpoint, Upstream, UpstreamRequest, UpstreamResponse } from '../http/upstream.ts'

/** Tries at most so many endpoints, and only when the one before cannot have seen the request. */
const attemptsMax = 3
/** An endpoint that could not be reached is left alone for this long, doubling up to the maximum. */
const ejectMsMin = 1_000
const ejectMsMax = 60_000

interface Health {
  pending: number
  failures: number
  ejectedUntil: number
}

/** Chooses among the endpoints of one agent: the less busy of two at random, the unreachable last. */
export interface Balancer {
  choose(endpoints: readonly Endpoint[], tried: ReadonlySet<string>): Endpoint | null
  started(endpoint: Endpoint): void
  ended(endpoint: Endpoint, reached: boolean): void
}

const endpointsTrackedMax = 10_000

export function createBalancer(random: Random, monotonic: () => number): Balancer {
  const health = new Map<string, Health>()
  const healthOf = ({ url }: Endpoint): Health => {
    const known = health.get(url)
    if (known !== undefined) return known
    const fresh = { pending: 0, failures: 0, ejectedUntil: 0 }
    health.set(url, fresh)
    const [oldest] = health.keys()
    if (health.size > endpointsTrackedMax && oldest !== undefined) health.delete(oldest)
    return fresh
  }
  const pick = (from: readonly Endpoint[]): Endpoint | null => {
    const bytes = random(2)
    const a = from[(bytes[0] ?? 0) % from.length]
    const b = from[(bytes[1] ?? 0) % from.length]
    if (a === undefined || b === undefined) return null
    return healthOf(b).pending < healthOf(a).pending ? b : a
  }
  return {
    choose(endpoints, tried) {
      const left = endpoints.filter(({ url }) => !tried.has(url))
      const now = monotonic()
      const healthy = left.filter((endpoint) => healthOf(endpoint).ejectedUntil <= now)
      return pick(healthy.length > 0 ? healthy : left)
    },
    started: (endpoint) => void (healthOf(endpoint).pending += 1),
    ended(endpoint, reached) {
      const state = healthOf(endpoint)
      state.pending -= 1
      state.failures = reached ? 0 : state.failures + 1
      const waitMs = Math.min(ejectMsMin * 2 ** (state.failures - 1), ejectMsMax)
      state.ejectedUntil = reached ? 0 : monotonic() + waitMs
    },
  }
}

/**
 * Sends to one of the route's endpoints. Tries another only when the first cannot have seen the
 * request: a tool call that may have acted is never sent twice.
 */
export async function requestBalanced(
  upstream: Upstream,
  balancer: Balancer,
  route: Route,
  request: UpstreamRequest,
): Promise<UpstreamResponse | Refusal> {
  const tried = new Set<string>()
  let last = `${route.name} has no endpoint`
  while (tried.size < attemptsMax) {
    const endpoint = balancer.choose(route.endpoints, tried)
    if (endpoint === null) break
    tried.add(endpoint.url)
    balancer.started(endpoint)
    try {
      const response = await upstream.request(endpoint, request)
      balancer.ended(endpoint, true)
      return response
    } catch (cause) {
      const unsent = cause instanceof UpstreamError && cause.unsent
      balancer.ended(endpoint, !unsent)
      last = String(cause)
      if (unsent) continue
      if (cause instanceof UpstreamError && cause.timedOut) {
        return new Refusal('RECEIVER_TIMED_OUT', last)
      }
      return new Refusal('RECEIVER_UNREACHABLE', `indeterminate: ${last}`)
    }
  }
  return new Refusal('RECEIVER_UNREACHABLE', last)
}
