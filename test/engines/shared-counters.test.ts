import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WatchedServer } from '../../packages/fabric/src/adapters/redis/watched-server.ts'
import { openSqliteStateStore } from '../../packages/fabric/src/adapters/sqlite/state-store.ts'
import type { Fabric } from '../../packages/fabric/src/compose/compose.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { type Door, refusalOf, send, trustDomain } from '../harness/doors.ts'
import {
  findRedis,
  REDIS_ENGINES,
  type RedisEngine,
  type RedisServer,
  redisTarget,
  startRedis,
} from '../harness/redis.ts'
import { signed } from '../harness/signed.ts'
import { openTestFabric, openWorld, type World } from '../harness/world.ts'

/** Two fabrics on copies of one data folder, with the same keys and agents, and one server. */
interface Replicas {
  readonly world: World
  readonly server: RedisServer
  readonly doors: readonly [Door, Door]
  /** Opens another one on the first data folder's copy; rejects where it does not start. */
  openAnother(): Promise<Fabric>
  close(): Promise<void>
}

const requestsPerMinute = 20

async function openReplicas(engine: RedisEngine): Promise<Replicas> {
  const server = await startRedis(engine)
  const world = await openWorld({ receivers: ['echo'] })
  await world.agent('counted', ['caller'])
  await world.fabric.close(0)
  // A server that is new to an existing fabric counts as a loss; this one is known from before.
  const prefix = `countersign:${trustDomain}`
  const marked = await WatchedServer.open({
    ...{ target: redisTarget(server), prefix, clock: systemClock, random: systemRandom },
    ...{ isFirst: true, log: () => undefined },
  })
  await agreeOn(world, marked.marker() ?? '')
  marked.close()
  const copies = [1, 2].map((number) => `${world.dir}-${number}`)
  for (const copy of copies) cpSync(world.dir, copy, { recursive: true })
  const counters = { engine: 'redis', url: `redis://127.0.0.1:${server.port}` }
  const open = (dir: string): Promise<Fabric> =>
    openTestFabric(dir, world.clock, { requestsPerMinute }, { engines: { counters } })
  const [one, two] = [await open(world.dir), await open(copies[0] ?? '')]
  return {
    ...{ world, server, doors: [doorOf(one, world), doorOf(two, world)] },
    openAnother: () => open(copies[1] ?? ''),
    async close() {
      for (const fabric of [one, two]) await fabric.close(0)
      await world.close()
      for (const copy of copies) rmSync(copy, { recursive: true, force: true })
      await server.close()
    },
  }
}

/** As if the fabric had used the server before. */
async function agreeOn({ dir }: World, marker: string): Promise<void> {
  const state = await openSqliteStateStore(join(dir, 'data', 'state.db'))
  const value = JSON.stringify({ marker, lostAt: null })
  await state.commit([{ table: 'settings', key: 'counters', value, expected: null }])
  await state.close()
}

function doorOf({ origin }: Fabric, { caller }: World): Door {
  const { host: authority, port } = new URL(origin)
  return {
    transport: 'gateway',
    credential: () => caller.credential(),
    place: (to, path) =>
      Promise.resolve({ authority, port: Number(port), path: `/agents/${to}${path}` }),
  }
}

describe.each(REDIS_ENGINES)('two fabrics on one %s', (engine) => {
  describe.skipIf(findRedis(engine) === null)('a real server', () => {
    let replicas: Replicas
    beforeAll(async () => {
      replicas = await openReplicas(engine)
    })
    afterAll(() => replicas.close())

    test('a request that one accepted is a replay at the other', async () => {
      const { world, doors } = replicas
      const [one, two] = doors
      const draft = await signed(one, world.caller)
      expect((await send(one, draft)).status).toBe(200)
      expect(refusalOf(await send(two, draft))).toBe('MESSAGE_REPLAYED')
      expect((await send(two, await signed(two, world.caller))).status).toBe(200)
    })

    test('the allowance of a caller is one allowance over both', async () => {
      const { world, doors } = replicas
      const as = (await world.agent('counted')).credential()
      const answers: (string | null)[] = []
      for (let at = 0; at < requestsPerMinute + 4; at++) {
        const door = doors[at % 2] ?? doors[0]
        answers.push(refusalOf(await send(door, { as })))
      }
      expect(answers.slice(0, requestsPerMinute)).toEqual(Array(requestsPerMinute).fill(null))
      expect(answers.slice(requestsPerMinute)).toEqual(Array(4).fill('RATE_LIMITED'))
    })

    test('after a flush, a request that was used before is refused at both', async () => {
      const { world, doors, server } = replicas
      const [one, two] = doors
      const draft = await signed(one, world.caller)
      expect((await send(one, draft)).status).toBe(200)
      await server.send('FLUSHALL')
      expect(refusalOf(await send(two, draft))).toBe('UNDECIDED')
      expect(refusalOf(await send(one, draft))).toBe('UNDECIDED')
      // Nothing was lost of requests without a signature.
      expect((await send(one, {})).status).toBe(200)
    })

    test('without the server nothing passes, and with it everything does again', async () => {
      const { doors, server } = replicas
      await server.kill()
      for (const door of doors) expect(refusalOf(await send(door, {}))).toBe('UNDECIDED')
      await server.start()
      for (const door of doors) {
        await expect.poll(async () => (await send(door, {})).status).toBe(200)
      }
    })

    test('a fabric does not start on a server that may evict', async () => {
      const { server, openAnother } = replicas
      await server.send('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
      try {
        await expect(openAnother()).rejects.toThrow('set it to noeviction')
      } finally {
        await server.send('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
      }
    })
  })
})
