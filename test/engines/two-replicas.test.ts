import { describe } from 'vitest'
import { twoReplicas } from '../contracts/two-replicas.ts'
import { findPostgres, startPostgres } from '../harness/postgres.ts'
import { findRedis, REDIS_ENGINES, startRedis } from '../harness/redis.ts'
import { openReplicas } from '../harness/replicas.ts'

const isMissing = findPostgres() === null

for (const engine of REDIS_ENGINES) {
  describe.skipIf(isMissing || findRedis(engine) === null)(`with ${engine}`, () => {
    twoReplicas(`two data folders with PostgreSQL and ${engine}`, async () => {
      const [postgres, redis] = [await startPostgres(), await startRedis(engine)]
      const replicas = await openReplicas({
        folders: ['one', 'two'],
        config: {
          engines: {
            state: { engine: 'postgresql', url: postgres.url() },
            counters: { engine: 'redis', url: `redis://127.0.0.1:${redis.port}` },
          },
        },
        env: { COUNTERSIGN_STATE_PASSWORD: postgres.password },
      })
      return {
        ...replicas,
        async close() {
          await replicas.close()
          await redis.close()
          await postgres.close()
        },
      }
    })
  })
}
