import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { deadline } from '../harness/deadline.ts'
import { type Draft, refusalOf, send } from '../harness/doors.ts'
import { findPostgres, type PostgresServer, startPostgres } from '../harness/postgres.ts'
import { findRedis, REDIS_ENGINES, type RedisServer, startRedis } from '../harness/redis.ts'
import { openReplicas, type Replica, type Replicas } from '../harness/replicas.ts'
import { signed } from '../harness/signed.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { openTcpProxy, type TcpProxy } from '../harness/tcp-proxy.ts'
import { verifies } from '../requirements.ts'

const redisEngine = REDIS_ENGINES.find((engine) => findRedis(engine) !== null) ?? null
const isMissing = findPostgres() === null || redisEngine === null

/** The first replica reaches both servers; the second one through networks that a test cuts. */
describe.skipIf(isMissing)('a replica that is cut off', () => {
  let postgres: PostgresServer
  let redis: RedisServer
  let toPostgres: TcpProxy
  let toRedis: TcpProxy
  let replicas: Replicas

  beforeAll(async () => {
    postgres = await startPostgres()
    redis = await startRedis(redisEngine ?? 'redis')
    toPostgres = await openTcpProxy(postgres.port)
    toRedis = await openTcpProxy(redis.port)
    const configOf = (ports: { readonly postgres: number; readonly redis: number }) => ({
      // Refusals are recorded while a test has cut the network off.
      ledger: { leaseMs: 20_000 },
      engines: {
        state: {
          engine: 'postgresql',
          url: postgres.url(undefined, { port: ports.postgres }),
        },
        counters: { engine: 'redis', url: `redis://127.0.0.1:${ports.redis}` },
      },
    })
    replicas = await openReplicas({
      folders: ['one', 'two'],
      config: configOf({ postgres: postgres.port, redis: redis.port }),
      configOfTwo: configOf({ postgres: toPostgres.port, redis: toRedis.port }),
      env: { COUNTERSIGN_STATE_PASSWORD: postgres.password },
    })
    await expectServes(replicas.one)
    await expectServes(replicas.two)
  })
  afterAll(async () => {
    await replicas.close()
    for (const each of [toRedis, toPostgres, redis, postgres]) await each.close()
  })

  async function expectServes(at: Replica): Promise<void> {
    await vi.waitFor(async () => {
      const heard = await send(at.door, await signed(at.door, replicas.caller))
      expect([heard.status, refusalOf(heard)]).toEqual([200, null])
    }, deadline)
  }

  /** An agent that both replicas serve. */
  async function enrol(name: string): Promise<Draft> {
    const as = (await replicas.enrol(replicas.one, name, ['caller'])).credential()
    for (const { door } of [replicas.one, replicas.two]) {
      await expect.poll(async () => refusalOf(await send(door, { as })), deadline).toBe(null)
    }
    return { as }
  }

  const openEvents = (draft: Draft) =>
    replicas.echo.during(streaming(['data: {"event":1}\n\n'], true), async () => {
      const stream = await openStream(replicas.two.door, draft)
      await stream.until(/"event":1/)
      return stream
    })

  /** Refusals until the first that is not for the network; nothing is delivered until then. */
  async function firstDecision(draft: Draft): Promise<string | null> {
    const before = replicas.echo.reached.length
    return vi.waitFor(async () => {
      const refusal = refusalOf(await send(replicas.two.door, draft))
      if (refusal === null) return refusal
      expect(replicas.echo.reached).toHaveLength(before)
      expect(refusal).not.toBe('UNDECIDED')
      return refusal
    }, deadline)
  }

  const ways = ['hang', 'refuse'] as const

  test.each(ways)(
    verifies(
      ['authenticate:quarantine', 'revoke:live'],
      'from the state (%s) decides nothing, and what was revoked meanwhile holds at once after it',
    ),
    async (how) => {
      const { one, two, echo } = replicas
      const draft = await enrol(`cut-${how}`)
      const stream = await openEvents(draft)
      toPostgres[how]()
      expect(await stream.ended()).toContain('"reason":"undecided"')
      await one.admin('agent.quarantine', { name: `cut-${how}`, reason: 'asked for' })
      const before = echo.reached.length
      expect(refusalOf(await send(two.door, draft))).toBe('UNDECIDED')
      expect(refusalOf(await send(two.door))).toBe('UNDECIDED')
      expect(echo.reached).toHaveLength(before)
      expect(refusalOf(await send(one.door))).toBe(null)
      toPostgres.resume()
      expect(await firstDecision(draft)).toBe('AGENT_QUARANTINED')
      await expectServes(two)
    },
  )

  test.each(ways)(
    verifies(
      ['authenticate:replay'],
      'from the counters (%s) accepts nothing, and what was used meanwhile is refused after it',
    ),
    async (how) => {
      const { one, two, echo, caller } = replicas
      toRedis[how]()
      await expect.poll(async () => refusalOf(await send(two.door)), deadline).toBe('UNDECIDED')
      const used = await signed(one.door, caller)
      expect((await send(one.door, used)).status).toBe(200)
      const place = await one.door.place('echo', '/')
      const { port } = await two.door.place('echo', '/')
      const there = { ...two.door, place: async () => ({ ...place, port }) }
      const before = echo.reached.length
      expect(refusalOf(await send(there, used))).toBe('UNDECIDED')
      toRedis.resume()
      await expect
        .poll(async () => refusalOf(await send(there, used)), deadline)
        .not.toBe('UNDECIDED')
      expect(refusalOf(await send(there, used))).toBe('MESSAGE_REPLAYED')
      expect(echo.reached).toHaveLength(before)
      await expectServes(two)
    },
  )

  const expectOneAlone = async (): Promise<void> => {
    const { one, two, caller, echo } = replicas
    const used = await signed(two.door, caller)
    const before = echo.reached.length
    expect(refusalOf(await send(two.door, used))).toBe('UNDECIDED')
    expect(echo.reached).toHaveLength(before)
    await expectServes(one)
  }

  test(
    verifies(
      ['authenticate:replay'],
      'from the counters, by a name that leads to another server, accepts nothing signed there',
    ),
    async () => {
      const { two } = replicas
      const other = await startRedis(redisEngine ?? 'redis')
      try {
        toRedis.leadTo(other.port)
        const output = () => two.process().output
        await expect.poll(output, deadline).toContain('counters differ')
        await expectOneAlone()
        await two.stop()
        await expect(two.start()).rejects.toThrow('log slot a has other counters than this one')
        toRedis.leadTo(redis.port)
        await two.start()
        await expectServes(two)
        toRedis.leadTo(other.port)
        await expect.poll(output, deadline).toContain('counters differ')
        await expectOneAlone()
      } finally {
        toRedis.leadTo(redis.port)
        await other.close()
      }
      await expectServes(two)
    },
  )

  test(
    verifies(
      ['record:one-holder'],
      'from the state for longer than two leases ends, and comes back when it is started',
    ),
    async () => {
      const { two } = replicas
      toPostgres.hang()
      expect(await two.process().end(2 * deadline.timeout)).not.toBe(0)
      expect(two.process().output).toContain('it could not be renewed in time')
      toPostgres.resume()
      await two.start()
      await expectServes(two)
    },
  )
})
