import type { ServerResponse } from 'node:http'
import { expect, vi } from 'vitest'
import { type Door, field, refusalOf, send } from '../harness/doors.ts'
import { inOwnWorld, lie, type Telling } from '../harness/lie.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** Connections that a connector opens to its agent. */
const connections = 64
const patience = { timeout: 20_000, interval: 50 }

interface Queue {
  readonly world: World
  /** The receiver's connector, past the gateway. */
  readonly direct: Door
  /** Everything that occupies a connection is answered. */
  release(): void
  /** Bodies that have reached the agent. */
  reached(): readonly string[]
}

/** An agent whose every connection is busy, so that a call which the gateway permitted waits. */
const behindOthers =
  (scene: (queue: Queue) => Promise<void>): Telling =>
  () =>
    inOwnWorld({ receivers: ['echo'] }, async (world) => {
      await world.agent('busy', ['open'])
      // Without a role, so that it is refused at once, and waits for nothing.
      await world.agent('marker')
      const { meshUrl } = await world.connectors.exposing('busy', world.echo.url)
      const { host, port } = new URL(meshUrl ?? '')
      const direct: Door = {
        ...world.mesh,
        place: (_, path) => Promise.resolve({ authority: host, port: Number(port), path }),
      }
      await vi.waitFor(async () => {
        expect((await send(direct)).status).toBe(200)
        expect((await send(world.gateway, { to: 'busy' })).status).toBe(200)
      }, patience)
      const before = world.echo.reached.length
      const held: ServerResponse[] = []
      let isOver = false
      await world.echo.during(
        (_, response) => {
          if (isOver) response.end('{}')
          else held.push(response)
        },
        async () => {
          const calls = Array.from({ length: connections }, () => send(direct))
          await vi.waitFor(() => expect(held).toHaveLength(connections), patience)
          const release = (): void => {
            isOver = true
            for (const response of held) response.end('{}')
          }
          const reached = () => world.echo.reached.slice(before).map(({ body }) => body.toString())
          await scene({ world, direct, release, reached })
          release()
          await Promise.all(calls)
        },
      )
    })

/** State arrives whole and in order: what changed before this agent's standing is there as well. */
async function arrived(world: World, direct: Door): Promise<void> {
  await world.admin('agent.quarantine', { name: 'marker', reason: 'told to' })
  const as = (await world.agent('marker')).credential()
  await vi.waitFor(async () => {
    expect(refusalOf(await send(direct, { as }))).toBe('AGENT_QUARANTINED')
  }, patience)
}

const endings: Readonly<Record<string, (world: World, name: string) => Promise<unknown>>> = {
  'of a caller in quarantine': (world, name) =>
    world.admin('agent.quarantine', { name, reason: 'told to' }),
  'that a changed policy denies': (world, name) =>
    world.admin('policy.put', {
      name: 'late.cedar',
      text: `@id("late") forbid(principal == Agent::"${name}", action == Action::"call", resource);`,
    }),
  'that a changed policy would have masked': (world, name) =>
    world.admin('policy.put', {
      name: 'late.cedar',
      text: `@id("late") @mask("email") permit(principal == Agent::"${name}", action == Action::"call", resource);`,
    }),
}

const overtaken = (end: (world: World, name: string) => Promise<unknown>): Telling =>
  behindOthers(async ({ world, direct, release, reached }) => {
    const name = 'waiting'
    const agent = await world.agent(name, ['caller'])
    const asking = send(world.gateway, {
      ...{ to: 'busy', as: agent.credential(), body: '{"pay":1}' },
    })
    // It has passed the gateway once its intent is on record; then it waits at the connector.
    await vi.waitFor(async () => {
      const recent = (await world.admin('ledger.recent', { countMax: 50 })) as readonly {
        readonly kind: string
        readonly facts: Readonly<Record<string, unknown>>
      }[]
      const own = recent.filter(({ facts }) => String(facts['caller']).endsWith(`/${name}`))
      expect(own.map(({ kind }) => kind)).toContain('intent')
    }, patience)
    await new Promise((resolve) => setTimeout(resolve, 300))
    await end(world, name)
    await arrived(world, direct)
    release()
    const heard = await asking
    expect(reached()).not.toContain('{"pay":1}')
    expect(['WITHDRAWN', 'OUTCOME_UNKNOWN']).toContain(refusalOf(heard))
    // Past the gateway, only the receiver's connector knows that nothing left, and its word is not ours.
    const closing = (await world.explain(exchangeOf(heard))).at(-1)
    const isUnsent = closing?.facts['progress'] === 'not-sent'
    expect(field(heard, 'countersign-may-have-acted')).toBe(String(!isUnsent))
  })

lie(
  verifies(
    ['authorize:every-delivery'],
    'a call that waits behind others does not leave once it is no longer permitted',
  ),
  {
    gateway: {
      ...Object.fromEntries(
        Object.entries(endings).map(([way, end]) => [`at a connector, ${way}`, overtaken(end)]),
      ),
      'at a connector, by a change that does not concern it: it leaves': behindOthers(
        async ({ world, direct, release, reached }) => {
          const asking = send(world.gateway, { to: 'busy', body: '{"pay":2}' })
          await new Promise((resolve) => setTimeout(resolve, 300))
          await world.agent('newcomer', ['caller'])
          await world.admin('policy.put', {
            name: 'other.cedar',
            text: '@id("other") forbid(principal == Agent::"newcomer", action, resource);',
          })
          await arrived(world, direct)
          release()
          expect((await asking).status).toBe(200)
          expect(reached()).toContain('{"pay":2}')
        },
      ),
    },
    mesh: 'told by stale-decision, of the connections of both connectors',
    queue: 'a lease that waits is told by stale-decision',
  },
)
