import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Identity, openIdentity } from '@countersign/sdk'
import { expect, vi } from 'vitest'
import { connectorAgent } from '../../packages/fabric/src/cli/connector-agent.ts'
import { openConnector } from '../../packages/fabric/src/compose-connector.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { type Door, type Draft, field, refusalOf, send } from '../harness/doors.ts'
import { lie, type Telling } from '../harness/lie.ts'
import { patience } from '../harness/patience.ts'
import { expectHeard } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

interface Late {
  /** The connector, past the gateway. */
  readonly direct: Door
  /** Withholds news of the fabric from now on. */
  cut(): void
  /** Lets through what was withheld. */
  tell(): void
}

/** A connector beside `name` to which news of the fabric come only when the test says so. */
async function withLateNews(
  world: World,
  name: string,
  scene: (late: Late) => Promise<void>,
): Promise<void> {
  const honest = connectorAgent(await world.agent(name, ['open']), world.clock)
  let told = Promise.withResolvers<void>()
  told.resolve()
  const request: typeof honest.request = async (order) => {
    const answer = await honest.request(order)
    if (order.path.startsWith('/v1/mesh/state')) await told.promise
    return answer
  }
  const connector = await openConnector({
    agent: { ...honest, request },
    gateway: {
      url: world.fabric.origin,
      spiffeId: `spiffe://${world.caller.trustDomain}/fabric/gateway`,
    },
    ...{ expose: world.echo.url, protocol: 'auto', clock: world.clock, random: systemRandom },
    listen: { host: '127.0.0.1', port: 0 },
    meshListen: { host: '127.0.0.1', port: 0, advertise: null },
    log: () => undefined,
  })
  const { host, port } = new URL(connector.meshUrl ?? '')
  const direct: Door = {
    ...world.mesh,
    place: (_, path) => Promise.resolve({ authority: host, port: Number(port), path }),
  }
  try {
    await scene({
      direct,
      cut: () => {
        told = Promise.withResolvers()
      },
      tell: () => told.resolve(),
    })
  } finally {
    told.resolve()
    await connector.close()
  }
}

const known = async (_: World, { direct }: Late): Promise<void> =>
  expect((await send(direct)).status).toBe(200)

/**
 * `draftOf` makes its caller while the connector hears nothing; the news arrive only once the call is under
 * way and another one, which came after it, has been answered.
 */
const admitted =
  (
    name: string,
    {
      way,
      draftOf,
      first = known,
    }: {
      readonly way: (late: Late, world: World) => Door
      readonly draftOf: (world: World, late: Late) => Promise<Draft>
      /** What the connector has seen before. */
      readonly first?: (world: World, late: Late) => Promise<void>
    },
  ): Telling =>
  (world) =>
    withLateNews(world, name, async (late) => {
      await first(world, late)
      late.cut()
      const draft = await draftOf(world, late)
      const asking = send(way(late, world), { to: name, ...draft })
      expect((await send(late.direct)).status).toBe(200)
      late.tell()
      const heard = await asking
      expect({ refusal: refusalOf(heard), status: heard.status }).toEqual({
        ...{ refusal: null, status: 200 },
      })
    })

/** The same name enrolled once more: new keys, and a certificate of the next generation. */
async function enrolAgain({ dir, fabric, clock }: World, name: string): Promise<Identity> {
  const own = join(dir, `${name}-again`)
  mkdirSync(own, { recursive: true, mode: 0o700 })
  const order = { kind: 'agent', roles: ['caller'], segment: '', attributes: {} } as const
  const { join: line } = await fabric.invite({ ...order, name, ttlSeconds: 900 })
  return openIdentity({ join: line, dir: own, clock, onFault: () => undefined })
}

/** Nothing comes within the bound: the refusal says that it may be tried again, and then it is taken. */
const refusedUntilTold: Telling = (world) =>
  withLateNews(world, 'told-much-later', async (late) => {
    await known(world, late)
    late.cut()
    const as = (await world.agent('fresh-too-early', ['caller'])).credential()
    const heard = await send(late.direct, { as })
    expectHeard(heard, 'mesh', 'UNDECIDED')
    expect(JSON.parse(heard.body.toString())).toMatchObject({ retry: true, mayHaveActed: false })
    expect(field(heard, 'retry-after')).toBe('1')
    late.tell()
    await vi.waitFor(async () => {
      expect((await send(late.direct, { as })).status).toBe(200)
    }, patience)
  })

const fresh = (name: string) => async (world: World) => ({
  as: (await world.agent(name, ['caller'])).credential(),
})

lie(
  verifies(
    ['authenticate:newcomer'],
    'an agent that has just enrolled is not taken for a stranger by a connector that has not heard of it',
  ),
  {
    gateway: admitted('told-late', {
      way: (_, { gateway }) => gateway,
      draftOf: fresh('fresh-at-gateway'),
    }),
    mesh: {
      'a new agent of which nothing is heard in time': refusedUntilTold,
      'a new agent': admitted('told-later', {
        way: ({ direct }) => direct,
        draftOf: fresh('fresh-on-mesh'),
      }),
      'an agent that was enrolled again, with its new key': admitted('told-last', {
        way: ({ direct }) => direct,
        async first(world, { direct }) {
          const as = (await world.agent('twice-on-mesh', ['caller'])).credential()
          expect((await send(direct, { as })).status).toBe(200)
        },
        async draftOf(world, { direct }) {
          const agent = await enrolAgain(world, 'twice-on-mesh')
          const draft = await signed(direct, agent, { to: 'told-last' })
          const as = agent.credential()
          agent.close()
          return { ...draft, as }
        },
      }),
    },
    queue: 'the fabric decides on its channels itself',
  },
)
