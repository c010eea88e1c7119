import type { ServerResponse } from 'node:http'
import type { TlsCredential } from '@countersign/protocol/tls'
import { expect, vi } from 'vitest'
import { attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { type Door, field, refusalOf, send } from '../harness/doors.ts'
import { watchingPools } from '../harness/pools.ts'
import type { Heard } from '../harness/raw-http.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/**
 * Connections that a connector opens to its agent, for callers that come one after the other: each
 * gets as many as are left.
 */
const crowd = [32, 16, 8, 4, 2, 1, 1]

interface Queue {
  /** The receiver's connector, past the gateway. */
  readonly direct: Door
  /** Calls that wait for a connection. */
  waiting(): number
  /** Everything that occupies a connection is answered. */
  release(): void
  /** Bodies that have reached the agent. */
  reached(): readonly string[]
}

/** An agent whose every connection is busy, so that a call which the gateway permitted waits. */
async function behindOthers(world: World, scene: (queue: Queue) => Promise<void>): Promise<void> {
  await world.agent('busy', ['open'])
  const connector = await world.connectors.exposing('busy', world.echo.url)
  const { host, port } = new URL(connector.meshUrl ?? '')
  const direct: Door = {
    ...world.mesh,
    place: (_, path) => Promise.resolve({ authority: host, port: Number(port), path }),
  }
  await vi.waitFor(async () => {
    expect((await send(direct)).status).toBe(200)
    expect((await send(world.gateway, { to: 'busy' })).status).toBe(200)
  }, deadline)
  const before = world.echo.reached.length
  const held: ServerResponse[] = []
  let isOver = false
  const release = (): void => {
    isOver = true
    for (const response of held) response.end('{}')
  }
  const reached = () => world.echo.reached.slice(before).map(({ body }) => body.toString())
  await watchingPools((waiting) =>
    world.echo.during(
      (_, response) => {
        if (isOver) response.end('{}')
        else held.push(response)
      },
      async () => {
        // On a slow machine, the entry of one among so many can wait for too long.
        const occupy = async (as: TlsCredential): Promise<void> => {
          while ((await send(direct, { as })).status !== 200) expect(isOver).toBe(false)
        }
        const calls: Promise<void>[] = []
        for (const [at, count] of crowd.entries()) {
          const as = (await world.agent(`crowd-${at}`, ['caller'])).credential()
          calls.push(...Array.from({ length: count }, () => occupy(as)))
          await vi.waitFor(() => expect(held).toHaveLength(calls.length), deadline)
        }
        await scene({ direct, waiting, release, reached })
        release()
        await Promise.all(calls)
      },
    ),
  )
  await connector.close()
}

/** State arrives whole and in order: what changed before this agent's standing is there as well. */
async function arrived(world: World, direct: Door): Promise<void> {
  // Without a role, so that it is refused at once, and waits for nothing.
  const as = (await world.agent('marker')).credential()
  await world.admin('agent.quarantine', { name: 'marker', reason: 'told to' })
  await vi.waitFor(async () => {
    expect(refusalOf(await send(direct, { as }))).toBe('AGENT_QUARANTINED')
  }, deadline)
}

const put = async (
  world: World,
  name: string,
  rule: string,
  condition: string = '',
): Promise<void> => {
  const answer = await world.admin('policy.put', {
    name: `${name}.cedar`,
    text: `@id("${name}") ${rule}(principal == Agent::"${name}", action == Action::"call", resource)${condition};`,
  })
  expect(answer).toMatchObject({ taken: true })
}

/** The changes that happen to the callers of these names while their calls wait. */
const changes: Readonly<Record<string, (world: World, name: string) => Promise<unknown>>> = {
  'waiting-in-quarantine': (world, name) =>
    world.admin('agent.quarantine', { name, reason: 'told to' }),
  'waiting-and-denied': (world, name) => put(world, name, 'forbid'),
  // A call that proves more would still be permitted, but this one did not.
  'waiting-and-unsigned': (world, name) => put(world, name, 'forbid', ' unless { context.signed }'),
  'waiting-and-masked': (world, name) => put(world, name, '@mask("email") permit'),
}

const unconcerned = 'waiting-unconcerned'

async function expectUnsent(world: World, heard: Heard, name: string): Promise<void> {
  expect(['WITHDRAWN', 'OUTCOME_UNKNOWN', 'UNDECIDED'], name).toContain(refusalOf(heard))
  // Past the gateway, only the receiver's connector knows that nothing left, and its word is not
  // ours.
  const closing = (await world.explain(exchangeOf(heard))).at(-1)
  const isUnsent = closing?.facts['progress'] === 'not-sent'
  expect(field(heard, 'countersign-may-have-acted'), name).toBe(String(!isUnsent))
}

attack(
  verifies(
    ['authorize:every-delivery'],
    'a call that waits behind others does not leave once it is no longer permitted',
  ),
  {
    gateway: {
      'at a connector, of a caller in quarantine, or after a policy that denies or would have masked it':
        (world) =>
          behindOthers(world, async ({ direct, waiting, release, reached }) => {
            const names = [...Object.keys(changes), unconcerned]
            const asked: Promise<readonly [string, Heard]>[] = []
            for (const name of names) {
              const as = (await world.agent(name, ['caller'])).credential()
              const body = JSON.stringify({ of: name })
              const asking = send(world.gateway, { to: 'busy', as, body })
              asked.push(asking.then((heard) => [name, heard] as const))
            }
            // The gateway has permitted each of them, and the connector has put it in its queue.
            await vi.waitFor(() => expect(waiting()).toBe(names.length), deadline)
            for (const [name, change] of Object.entries(changes)) await change(world, name)
            await arrived(world, direct)
            release()
            const heard = new Map(await Promise.all(asked))
            // The changes to others do not concern it.
            expect(heard.get(unconcerned)?.status).toBe(200)
            heard.delete(unconcerned)
            const ofScene = reached().filter((body) => body.includes('"of"'))
            expect(ofScene).toEqual([JSON.stringify({ of: unconcerned })])
            for (const [name, each] of heard) await expectUnsent(world, each, name)
          }),
    },
    mesh: 'tested by stale-decision, of the connections of both connectors',
    queue: 'a lease that waits is tested by stale-decision',
  },
)
