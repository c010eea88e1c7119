import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Identity, openIdentity } from '@countersign/sdk'
import { expect, vi } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { type Door, type Draft, field, refusalOf, send } from '../harness/doors.ts'
import { type Late, withLateNews } from '../harness/late-news.ts'
import { expectHeard } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const known = async (_: World, { direct }: Late): Promise<void> =>
  expect((await send(direct)).status).toBe(200)

/**
 * `draftOf` makes its caller while the connector receives no news; they arrive only once the call
 * is under way and another one, which came after it, has been answered.
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
      /** The state that the connector has seen before. */
      readonly first?: (world: World, late: Late) => Promise<void>
    },
  ): Attempt =>
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

/**
 * Nothing comes within the bound: the refusal states that the request may be tried again, and then
 * it is taken.
 */
const refusedUntilInformed: Attempt = (world) =>
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
    }, deadline)
  })

const fresh = (name: string) => async (world: World) => ({
  as: (await world.agent(name, ['caller'])).credential(),
})

attack(
  verifies(
    ['authenticate:newcomer'],
    'an agent that has just enrolled is admitted by a connector that does not know it yet',
  ),
  {
    gateway: admitted('told-late', {
      way: (_, { gateway }) => gateway,
      draftOf: fresh('fresh-at-gateway'),
    }),
    mesh: {
      'a new agent that stays unknown in time': refusedUntilInformed,
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
