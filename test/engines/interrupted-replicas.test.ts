import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { pausedLeaseMs, pausedReplica } from '../contracts/paused-replica.ts'
import { findPostgres, startPostgres } from '../harness/postgres.ts'
import { findRedis, REDIS_ENGINES, startRedis } from '../harness/redis.ts'
import { openReplicas } from '../harness/replicas.ts'

const redisEngine = REDIS_ENGINES.find((engine) => findRedis(engine) !== null) ?? null
const isMissing = findPostgres() === null || redisEngine === null

describe.skipIf(isMissing)('with servers', () => {
  pausedReplica('two data folders with PostgreSQL and Redis', async () => {
    const [postgres, redis] = [await startPostgres(), await startRedis(redisEngine ?? 'redis')]
    const replicas = await openReplicas({
      folders: ['one', 'two'],
      config: {
        ledger: { leaseMs: pausedLeaseMs },
        engines: {
          state: { engine: 'postgresql', url: postgres.url() },
          counters: { engine: 'redis', url: `redis://127.0.0.1:${redis.port}` },
        },
      },
      env: { COUNTERSIGN_STATE_PASSWORD: postgres.password },
    })
    const take = `UPDATE countersign.lease SET token = token + 1, ends = now() + interval '1 min'
      WHERE name = $1 AND ends <= clock_timestamp() RETURNING token`
    return {
      ...replicas,
      logOfTwo: join(replicas.dir, 'two', 'ledger', 'b'),
      async takeSlot(name) {
        await expect.poll(() => postgres.query(take, [name])).toHaveLength(1)
      },
      async close() {
        await replicas.close()
        await redis.close()
        await postgres.close()
      },
    }
  })
})
