import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Client } from '../../packages/fabric/src/adapters/redis/client.ts'
import { redisRateLimits } from '../../packages/fabric/src/adapters/redis/rate-limits.ts'
import type { RedisTarget } from '../../packages/fabric/src/adapters/redis/session.ts'
import { redisUsedValues } from '../../packages/fabric/src/adapters/redis/used-values.ts'
import {
  clockDifferenceMsMax,
  WatchedServer,
} from '../../packages/fabric/src/adapters/redis/watched-server.ts'
import { createReplayGuard } from '../../packages/fabric/src/identity/replay-guard.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { rateLimitsContract } from '../contracts/rate-limits.ts'
import { usedValuesContract } from '../contracts/replay-guard.ts'
import { agentKey } from '../harness/principals.ts'
import {
  aloneOn,
  findRedis,
  REDIS_ENGINES,
  type RedisEngine,
  type RedisOptions,
  type RedisServer,
  redisTarget,
  startRedis,
} from '../harness/redis.ts'
import { openTcpProxy } from '../harness/tcp-proxy.ts'

const opened: { close(): unknown }[] = []
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close()
})

let prefixes = 0

/** A fabric's view of a server; each has a prefix of its own, unless the test shares one. */
async function openWatched(
  server: Pick<RedisServer, 'port' | 'caPem'>,
  changes: { prefix?: string; isFirst?: boolean; target?: Partial<RedisTarget> } = {},
) {
  const log: string[] = []
  const watched = await WatchedServer.open({
    target: { ...redisTarget(server), ...changes.target },
    prefix: changes.prefix ?? `test:${prefixes++}`,
    ...{ clock: systemClock, random: systemRandom, isFirst: changes.isFirst ?? true },
    bounds: { checkMs: 100, staleMs: 20_000, commandMs: 20_000, connectMs: 20_000 },
    log: (event, facts) => log.push(`${event} ${facts?.['fault'] ?? facts?.['reason'] ?? ''}`),
  })
  opened.push(watched)
  const values = redisUsedValues(watched, aloneOn(watched))
  const guard = createReplayGuard(values, systemClock)
  return {
    ...{ watched, log, values },
    claim: (value: string, createdAt = systemClock.now()) =>
      guard.claim({ value, createdAt, windowMs: 80_000 }),
  }
}

async function startServer(engine: RedisEngine, options: RedisOptions = {}): Promise<RedisServer> {
  const server = await startRedis(engine, options)
  opened.push(server)
  return server
}

const afterLoss = 'may have been lost'

/** A client of a server whose clock is ahead by `shift.ms`. */
function shiftedClient(shift: { ms: number }): Partial<RedisTarget> {
  const load: RedisTarget['load'] = async (name) => {
    const { createClient } = (await import(name)) as { createClient(options: object): Client }
    return {
      createClient(options: object) {
        const client = createClient(options)
        const send = client.sendCommand.bind(client)
        client.sendCommand = async (args) => {
          const answer = await send(args)
          if (args[0] !== 'TIME') return answer
          const [seconds, micros] = answer as readonly [string, string]
          return [String(Number(seconds) + shift.ms / 1_000), micros]
        }
        return client
      },
    }
  }
  return { load }
}

describe.each(REDIS_ENGINES)('counters in %s', (engine) => {
  describe.skipIf(findRedis(engine) === null)('a real server', () => {
    let shared: RedisServer
    beforeAll(async () => {
      shared = await startRedis(engine)
    })
    afterAll(() => shared.close())

    usedValuesContract(engine, {
      async open() {
        const { values } = await openWatched(shared)
        return { values, wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) }
      },
      unitMs: 1_500,
      isExact: false,
      keptLongerMs: 2 * clockDifferenceMsMax,
    })

    rateLimitsContract(engine, async (requestsPerMinute) => {
      const { watched } = await openWatched(shared)
      return redisRateLimits(watched, requestsPerMinute)
    })

    test('fabrics of one prefix share one allowance and one memory of used values', async () => {
      const [a, b] = [
        await openWatched(shared, { prefix: 'both' }),
        await openWatched(shared, { prefix: 'both', isFirst: false }),
      ]
      const limits = [redisRateLimits(a.watched, 3), redisRateLimits(b.watched, 3)]
      const left: number[] = []
      for (const at of [0, 1, 0])
        left.push((await limits[at]?.spend(agentKey('alice'), 'x'))?.remaining ?? -1)
      expect(left).toEqual([2, 1, 0])
      expect((await limits[1]?.spend(agentKey('alice'), 'x'))?.exhausted).toBe(true)
      expect(await a.claim('n')).toBe(true)
      expect(await b.claim('n')).toBe(false)
      const other = await openWatched(shared)
      expect(await other.claim('n')).toBe(true)
    })

    test('another start of a fabric is not a loss', async () => {
      const first = await openWatched(shared, { prefix: 'restarted' })
      expect(await first.claim('n')).toBe(true)
      first.watched.close()
      const second = await openWatched(shared, { prefix: 'restarted', isFirst: false })
      expect(second.watched.lostAt()).toBe(Number.NEGATIVE_INFINITY)
      expect(await second.claim('n')).toBe(false)
    })

    test('an empty server that no fabric has marked is a loss, except for a new fabric', async () => {
      const known = await openWatched(shared, { isFirst: false })
      await expect(known.claim('n')).rejects.toThrow(afterLoss)
      expect(known.log.join()).toContain('used values may be lost')
    })

    test('no key holds a nonce, and every used value expires', async () => {
      const { claim } = await openWatched(shared, { prefix: 'seen' })
      await claim('secret-nonce')
      const keys = await shared.send('KEYS', 'seen:*')
      expect(keys).not.toContain('secret-nonce')
      const [key = ''] = /seen:used:[A-Za-z0-9_-]+/.exec(keys) ?? []
      expect(await shared.send('PTTL', key)).toMatch(/^:[1-9]/)
    })

    test('FLUSHALL under a running fabric: what was used before is refused', async () => {
      const server = await startServer(engine)
      const [a, b] = [
        await openWatched(server, { prefix: 'p' }),
        await openWatched(server, { prefix: 'p' }),
      ]
      const createdAt = systemClock.now()
      expect(await a.claim('n', createdAt)).toBe(true)
      await server.send('FLUSHALL')
      await expect(a.claim('n', createdAt)).rejects.toThrow(afterLoss)
      await expect(b.claim('n', createdAt)).rejects.toThrow(afterLoss)
    })

    test('a restart without persistence: what was used before is refused', async () => {
      const server = await startServer(engine)
      const { claim, watched } = await openWatched(server)
      const createdAt = systemClock.now()
      expect(await claim('n', createdAt)).toBe(true)
      expect(watched.fault()).toBeNull()
      await server.kill()
      await expect(claim('n', createdAt)).rejects.toThrow('cannot be used')
      expect(watched.fault()).toContain(`Redis at 127.0.0.1:${server.port} cannot be used`)
      await server.start()
      await expect
        .poll(() => claim('n', createdAt).catch((error: unknown) => String(error)))
        .toContain(afterLoss)
    })

    test('a restart with persistence is a loss as well: the last second may be missing', async () => {
      const server = await startServer(engine, { settings: { appendonly: 'yes' } })
      const { claim, watched } = await openWatched(server)
      const createdAt = systemClock.now()
      expect(await claim('n', createdAt)).toBe(true)
      await server.kill()
      await server.start()
      await expect.poll(() => watched.lostAt()).toBeGreaterThanOrEqual(createdAt)
      await expect(claim('n', createdAt)).rejects.toThrow(afterLoss)
    })

    test('a failover to a replica that lacks the nonce: it is refused', async () => {
      const primary = await startServer(engine)
      const replica = await startServer(engine, {
        settings: { replicaof: `127.0.0.1 ${primary.port}` },
      })
      // The name of the service leads to the primary, and after the failover to the replica.
      const name = await openTcpProxy(primary.port)
      opened.push(name)
      const { claim, watched } = await openWatched(
        { port: name.port, caPem: null },
        { prefix: 'p' },
      )
      const isReplicated = async () => (await replica.send('EXISTS', 'p:marker')).trim()
      await expect.poll(isReplicated).toBe(':1')
      // From here on the replica receives nothing.
      await replica.send('REPLICAOF', 'NO', 'ONE')
      const createdAt = systemClock.now()
      expect(await claim('n', createdAt)).toBe(true)
      await primary.kill()
      name.leadTo(replica.port)
      await expect
        .poll(() => claim('n', createdAt).catch((error: unknown) => String(error)))
        .toContain(afterLoss)
      expect(watched.lostAt()).toBeGreaterThanOrEqual(createdAt)
    })

    test('a primary that becomes a replica takes no claims', async () => {
      const [server, other] = [await startServer(engine), await startServer(engine)]
      const { claim, log } = await openWatched(server)
      expect(await claim('a')).toBe(true)
      await server.send('REPLICAOF', '127.0.0.1', String(other.port))
      await expect
        .poll(() => claim('b').catch((error: unknown) => String(error)))
        .toContain('slave')
      expect(log.join()).toContain('name the primary')
    })

    test('a server that may evict is refused at the start, and later', async () => {
      const evicting = await startServer(engine, {
        settings: { 'maxmemory-policy': 'allkeys-lru' },
      })
      await expect(openWatched(evicting)).rejects.toThrow(
        'its maxmemory-policy is allkeys-lru; set it to noeviction',
      )
      const server = await startServer(engine)
      const { claim } = await openWatched(server)
      expect(await claim('a')).toBe(true)
      await server.send('CONFIG', 'SET', 'maxmemory-policy', 'volatile-ttl')
      await expect
        .poll(() => claim('b').catch((error: unknown) => String(error)))
        .toContain('maxmemory-policy is volatile-ttl')
      await server.send('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
      await expect.poll(() => claim('c').catch(() => false)).toBe(true)
    })

    test('values that were evicted meanwhile are a loss', async () => {
      const server = await startServer(engine)
      const { claim, watched } = await openWatched(server)
      const createdAt = systemClock.now()
      expect(await claim('n', createdAt)).toBe(true)
      await server.send('SET', 'ballast', 'x'.repeat(200_000))
      await server.send('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-random')
      await server.send('CONFIG', 'SET', 'maxmemory', '1000000')
      for (let i = 0; i < 20; i++) await server.send('SET', `more${i}`, 'x'.repeat(100_000))
      await server.send('CONFIG', 'SET', 'maxmemory', '0')
      await server.send('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
      expect(await server.send('INFO', 'stats')).toMatch(/evicted_keys:[1-9]/)
      await expect.poll(() => watched.lostAt()).toBeGreaterThanOrEqual(createdAt)
      await expect.poll(() => claim('n', createdAt).catch(String)).toContain(afterLoss)
    })

    test('a clock that was ahead and is right again has freed values early, which is a loss', async () => {
      const server = await startServer(engine)
      const shift = { ms: 0 }
      const { claim, watched } = await openWatched(server, {
        prefix: 'p',
        target: shiftedClient(shift),
      })
      const createdAt = systemClock.now()
      expect(await claim('n', createdAt)).toBe(true)
      shift.ms = 200_000
      await expect.poll(() => watched.fault()).toContain('its clock differs by')
      // By that clock, the value has expired.
      const [key = ''] = /p:used:[A-Za-z0-9_-]+/.exec(await server.send('KEYS', 'p:used:*')) ?? []
      expect(await server.send('DEL', key)).toBe(':1\r\n')
      shift.ms = 0
      await expect.poll(() => watched.fault()).toBeNull()
      await expect(claim('n', createdAt)).rejects.toThrow(afterLoss)
    })

    test('a value is used for a fabric whose clock is as far behind as is permitted', async () => {
      const ahead = await openWatched(shared, { prefix: 'ahead' })
      expect(await ahead.values.claim('n', 1_000)).toBe(true)
      const behind = await openWatched(shared, { prefix: 'ahead', isFirst: false })
      // The window has ended by the clock of the first, and goes on by that of the second.
      await new Promise((resolve) => setTimeout(resolve, 2_000))
      expect(await behind.values.claim('n', 1_000 + 2 * clockDifferenceMsMax - 2_000)).toBe(false)
    })

    test('a full server refuses, and forgets nothing', async () => {
      const server = await startServer(engine)
      const { claim } = await openWatched(server)
      expect(await claim('a')).toBe(true)
      await server.send('CONFIG', 'SET', 'maxmemory', '1')
      await expect(claim('b')).rejects.toThrow('OOM')
      await server.send('CONFIG', 'SET', 'maxmemory', '0')
      await expect.poll(() => claim('a').catch(String)).toBe(false)
      expect(await claim('b')).toBe(true)
    })

    test('a user of the server needs only the commands that the documentation lists', async () => {
      const server = await startServer(engine)
      const commands = ['info', 'time', 'script|load', 'evalsha', 'select', 'client|setname']
      const writes = ['hmget', 'hget', 'hset', 'set', 'incr', 'pttl', 'pexpire']
      const grants = [...commands, ...writes].map((command) => `+${command}`)
      const rules = ['on', '>right', '~countersign:*', '-@all', ...grants]
      expect(await server.send('ACL', 'SETUSER', 'fabric', ...rules)).toBe('+OK\r\n')
      const as = (password: string) => ({ user: 'fabric', password: async () => password })
      const right = await openWatched(server, { prefix: 'countersign:a.test', target: as('right') })
      expect(await right.claim('n')).toBe(true)
      expect((await redisRateLimits(right.watched, 9).spend(agentKey('a'), 'b')).remaining).toBe(8)
      const wrong = openWatched(server, { target: as('wrong-password') })
      await expect(wrong).rejects.toThrow(`Redis at 127.0.0.1:${server.port} cannot be used`)
      await expect(wrong).rejects.not.toThrow('wrong-password')
    })

    test('a server that hangs costs one bounded wait, and the fabric finds it again', async () => {
      const proxy = await openTcpProxy(shared.port)
      opened.push(proxy)
      const watched = await WatchedServer.open({
        target: redisTarget({ port: proxy.port, caPem: null }),
        ...{ prefix: 'hang', clock: systemClock, random: systemRandom, isFirst: true },
        bounds: { checkMs: 50, commandMs: 300, connectMs: 5_000 },
        log: () => undefined,
      })
      opened.push(watched)
      const values = redisUsedValues(watched, aloneOn(watched))
      expect(await values.claim('a', 60_000)).toBe(true)
      proxy.hang()
      await expect(values.claim('b', 60_000)).rejects.toThrow()
      proxy.resume()
      await expect.poll(() => values.claim('c', 60_000).catch(() => false)).toBe(true)
      expect(await values.claim('a', 60_000)).toBe(false)
    })
  })
})

// Valkey's wheel is built without TLS.
describe.skipIf(findRedis('redis') === null)('TLS to redis', () => {
  test('the certificate is verified, with its name', async () => {
    const server = await startServer('redis', { tls: true })
    const other = await startServer('redis', { tls: true })
    const { claim } = await openWatched(server)
    expect(await claim('n')).toBe(true)
    await expect(openWatched({ port: server.port, caPem: other.caPem })).rejects.toThrow()
    const named = { host: 'localhost.', tls: { ca: server.caPem } }
    await expect(openWatched(server, { target: named })).rejects.toThrow()
  })
})
