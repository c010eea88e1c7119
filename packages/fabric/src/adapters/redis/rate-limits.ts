import { hash } from 'node:crypto'
import { counterKey } from '../../lib/limits.ts'
import type { RateLimits } from '../../pipeline/quota.ts'
import type { WatchedServer } from './watched-server.ts'

const windowMs = 60_000

/** Counters that all fabrics with this server share: one allowance for all of them. */
export function redisRateLimits(server: WatchedServer, requestsPerMinute: number): RateLimits {
  return {
    async spend(caller, receiver) {
      const name = hash('sha256', counterKey(caller, receiver), 'base64url')
      const answer = await server.run(
        'spend',
        [`${server.prefix}:rate:${name}`],
        [String(windowMs)],
      )
      const [count, resetMs] = Array.isArray(answer) ? answer.map(Number) : []
      if (count === undefined || resetMs === undefined || !(count >= 1 && resetMs >= 0)) {
        throw new Error('the counter cannot be read')
      }
      return {
        limit: requestsPerMinute,
        remaining: Math.max(0, requestsPerMinute - count),
        resetMs,
        exhausted: count > requestsPerMinute,
      }
    },
  }
}
