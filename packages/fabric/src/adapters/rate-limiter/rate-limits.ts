import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import type { Clock } from '../../lib/clock.ts'
import { counterKey, networkOf } from '../../lib/limits.ts'
import type { Quota, RateLimits, UnauthenticatedLimits } from '../../pipeline/quota.ts'

const windowSeconds = 60

/** Counters in memory, one per caller and receiver, in windows of one minute. */
export function memoryRateLimits(requestsPerMinute: number): RateLimits {
  const limiter = new RateLimiterMemory({ points: requestsPerMinute, duration: windowSeconds })
  return {
    async spend(caller, receiver) {
      try {
        return toQuota(
          await limiter.consume(counterKey(caller, receiver)),
          requestsPerMinute,
          false,
        )
      } catch (answer) {
        // The library rejects with its result when the allowance is used up, and with an error when
        // it cannot decide; the second must stay an error, so that the request is refused.
        if (answer instanceof RateLimiterRes) return toQuota(answer, requestsPerMinute, true)
        throw answer
      }
    },
  }
}

function toQuota(state: RateLimiterRes, limit: number, exhausted: boolean): Quota {
  return {
    limit,
    remaining: Math.max(0, state.remainingPoints),
    resetMs: Math.max(0, state.msBeforeNext),
    exhausted,
  }
}

/** Places that ran out and have not come back; beyond it the oldest is given another try. */
const exhaustedMax = 100_000

export function memoryUnauthenticatedLimits(
  refusalsPerMinute: number,
  clock: Clock,
): UnauthenticatedLimits {
  const limiter = new RateLimiterMemory({ points: refusalsPerMinute, duration: windowSeconds })
  const exhausted = new Map<string, number>()
  return {
    admits(address) {
      if (exhausted.size === 0) return true
      const place = networkOf(address)
      const until = exhausted.get(place)
      if (until === undefined) return true
      if (clock.monotonic() < until) return false
      exhausted.delete(place)
      return true
    },
    count(address) {
      const place = networkOf(address)
      limiter.consume(place).catch((answer: unknown) => {
        const waitMs = answer instanceof RateLimiterRes ? answer.msBeforeNext : 1000
        const [oldest] = exhausted.keys()
        if (exhausted.size >= exhaustedMax && oldest !== undefined) exhausted.delete(oldest)
        exhausted.set(place, clock.monotonic() + waitMs)
      })
    },
  }
}
