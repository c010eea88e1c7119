import { LEASE_WAIT_MS_MAX, type MeshState, parseLeases } from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { expect, vi } from 'vitest'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import {
  draftTo,
  expectQueueRefused,
  lease,
  leaseBody,
  openHall,
  openSealer,
  orderOf,
  publish,
} from '../harness/channels.ts'
import { deadline } from '../harness/deadline.ts'
import { type Draft, field, send } from '../harness/doors.ts'
import { talk } from '../harness/raw-http.ts'
import { exchangeOf, expectHeard, untilRefused } from '../harness/refusals.ts'
import { openPolls, type PollAnswer, sequenceOf, untilNews } from '../harness/state-polls.ts'
import { tokenFor } from '../harness/tokens.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const overloaded = ['OVERLOADED', 'OVERLOADED']

const forbid = (world: World, name: string) =>
  world.admin('policy.put', {
    name: `${name}.cedar`,
    text: `@id("${name}")\nforbid(principal == Agent::"${name}", action, resource);`,
  })

/** The ways in which a right ends while its holder waits, each with the reason that it receives. */
const endings: Readonly<Record<string, readonly [string, (w: World, n: string) => unknown]>> = {
  quarantine: [
    'caller-quarantined',
    (world, name) => world.admin('agent.quarantine', { name, reason: 'told to' }),
  ],
  revocation: [
    'caller-revoked',
    (world, name) => world.admin('agent.revoke', { name, reason: 'told to' }),
  ],
  'a new policy': ['policy-denies', forbid],
}

/** Sends `draft`, and has the receiver answer only after the right to the answer has ended. */
async function overtaken(
  world: World,
  transport: 'gateway' | 'mesh',
  { draft, end }: { readonly draft: Draft; readonly end: () => unknown },
) {
  let asked = 0
  const door = world[transport]
  const heard = await world.echo.during(
    (_, response) => {
      const answer = (text: string) => {
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(text)
      }
      // Further requests ask only whether the change has arrived: a connector receives it by a long
      // poll.
      if (asked++ > 0) return answer('{}')
      Promise.resolve(end())
        .then(() => untilRefused(() => send(door, draft)))
        .then(() => answer('{"secret":"for those who may"}'))
        .catch(() => response.destroy())
    },
    () => send(door, draft),
  )
  expect(heard.body.toString()).not.toContain('secret')
  expectHeard(heard, transport, 'WITHDRAWN')
  expect(field(heard, 'countersign-may-have-acted')).toBe('true')
  const entries = await world.explain(exchangeOf(heard))
  // The receiver did act: the record states that, and that its answer was not handed over.
  expect(entries.map(({ kind }) => kind)).toEqual(['intent', 'outcome'])
  expect(entries.at(-1)?.facts).toMatchObject({
    result: 'withheld',
    code: 'WITHDRAWN',
    status: 200,
    progress: 'answered',
  })
  return heard
}

const buffered =
  (transport: 'gateway' | 'mesh', way: string): Attempt =>
  async (world) => {
    const [reason, end] = endings[way] ?? ['', forbid]
    const name = `overtaken-${way.replaceAll(' ', '-')}-${transport}`
    const agent = await world.agent(name, ['caller'])
    const draft = { as: agent.credential() }
    // A connector learns of a new agent by its long poll, and refuses it until then.
    await vi.waitFor(async () => {
      expect((await send(world[transport], draft)).status).toBe(200)
    }, deadline)
    const heard = await overtaken(world, transport, { draft, end: () => end(world, name) })
    expect(field(heard, 'countersign-withdrawal')).toBe(reason)
    expect(JSON.parse(heard.body.toString())).toMatchObject({
      ...{ retry: false, mayHaveActed: true, reconnect: false, reason },
    })
  }

/**
 * As `buffered`, on the caller's own machine. Its connector is cut off from the state with its
 * agent: only the receiver's connector states the withdrawal, and the fabric takes no entry about
 * that, so that nothing is certain here.
 */
const atOwnConnector: Attempt = async (world) => {
  const name = 'overtaken-at-home'
  const agent = await world.agent(name, ['caller'])
  const { port, authority, path } = await world.connectors.loopback(name, 'echo', '/')
  const call = [
    `POST ${path} HTTP/1.1`,
    `Host: ${authority}`,
    'Content-Type: application/json',
    'Content-Length: 2',
  ]
  const ask = async () => {
    const [heard] = await talk({ port, credential: null }, [`${call.join('\r\n')}\r\n\r\n{}`])
    if (heard === undefined) throw new Error('the connector hung up')
    return heard
  }
  await vi.waitFor(async () => expect((await ask()).status).toBe(200), deadline)
  let asked = 0
  const heard = await world.echo.during((_, response) => {
    const answer = (text: string) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(text)
    }
    if (asked++ > 0) return answer('{}')
    Promise.resolve(world.admin('agent.quarantine', { name, reason: 'told to' }))
      // The receiver's connector knows of it, which the caller's own may have learned before.
      .then(() => untilRefused(() => send(world.mesh, { as: agent.credential() })))
      .then(() => answer('{"secret":1}'))
      .catch(() => response.destroy())
  }, ask)
  expect(heard.body.toString()).not.toContain('secret')
  expectHeard(heard, 'mesh', 'OUTCOME_UNKNOWN')
  expect(field(heard, 'countersign-may-have-acted')).toBe('true')
}

const onEach = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(
    Object.keys(endings).map((way) => [`a response after ${way}`, buffered(transport, way)]),
  )

/** The answer to a lease whose right ended before a message came. */
async function overtakenLease(world: World) {
  const [name, patient] = [newName('overtaken-reader'), newName('patient-reader')]
  const reader = await world.agent(name, ['caller'])
  const { name: channel } = await openHall(world, [name, patient])
  const sealer = await openSealer(world, channel, world.caller)
  const { asking } = await waitingLease(world, channel, reader)
  await forbid(world, name)
  await publish(world, channel, [sealer.seal(orderOf()).bytes])
  const heard = await asking
  expect([heard.status, heard.body.length]).not.toEqual([200, 0])
  return { heard, channel, other: await world.agent(patient) }
}

/**
 * Asks for a lease that is held open. Resolves with the pending answer once its intent is on
 * record.
 */
async function waitingLease(world: World, channel: string, as: Identity) {
  const body = Buffer.from(
    JSON.stringify({ group: 'workers', count: 10, leaseMs: 30_000, waitMs: LEASE_WAIT_MS_MAX }),
  )
  const asking = send(world.control, {
    ...draftTo(channel, 'leases', { body }),
    as: as.credential(),
  })
  // The fabric has decided: what changes from here on changes the right of a lease that waits.
  await vi.waitFor(async () => {
    const recent = await world.recorded()
    const ofLease = recent.filter(({ facts }) => facts['receiver'] === channel)
    expect(ofLease.map(({ kind }) => kind)).toContain('intent')
  }, deadline)
  return { asking }
}

attack(
  verifies(
    ['authorize:every-delivery', 'revoke:lease'],
    'content that was permitted when it was asked for is not handed over once it no longer is',
  ),
  {
    gateway: {
      ...onEach('gateway'),
      'a response after its key was revoked': async (world) => {
        const { name: agent } = await world.agent('overtaken-key', ['caller'])
        const made = await world.admin('key.create', { agent })
        const { key, prefix } = made as { key: string; prefix: string }
        const draft = { as: null, headers: [['X-Api-Key', key]] as const }
        const end = () => world.admin('key.revoke', { prefix })
        const heard = await overtaken(world, 'gateway', { draft, end })
        expect(field(heard, 'countersign-withdrawal')).toBe('credential-revoked')
      },
      'a response after its token has ended': async (world) => {
        const token = await tokenFor(world.caller)
        const headers = [['Authorization', `Bearer ${token}`]] as const
        const arrived = Promise.withResolvers<void>()
        const heard = await world.echo.during(
          (_, response) => {
            // Past the end of the token; the certificates of the world outlive it.
            const later = world.clock.later(400_000, async () => {
              response.end('{"secret":1}')
              await arrived.promise
            })
            later.catch(() => response.destroy())
          },
          () => send(world.gateway, { as: null, headers }).finally(() => arrived.resolve()),
        )
        expectHeard(heard, 'gateway', 'WITHDRAWN')
        expect(JSON.parse(heard.body.toString())).toMatchObject({
          ...{ reason: 'credential-expired', reconnect: true },
        })
      },
      'the state of the fabric after quarantine': async (world) => {
        const name = 'overtaken-state'
        const agent = await world.agent(name, ['caller'])
        const connections = [openPolls(world, agent), openPolls(world, agent)]
        try {
          const [first] = await Promise.all(connections.map(({ ask }) => ask(-1)))
          const sequence = sequenceOf(first ?? { status: 0, refusal: '', limit: '', text: '{}' })
          const ended: PollAnswer[] = []
          const isNews = ({ text }: PollAnswer): boolean =>
            (JSON.parse(text) as Partial<MeshState>).agents?.some(
              (each) => each.name === name && each.status !== 'active',
            ) === true
          const polls = connections.flatMap(({ ask }) =>
            Array.from({ length: 65 }, async () => {
              ended.push(await untilNews(ask, sequence, isNews))
            }),
          )
          // One agent waits 128 times at most: that two are refused is the sign that the others
          // wait.
          await expect.poll(() => ended.map(({ refusal }) => refusal)).toEqual(overloaded)
          await world.admin('agent.quarantine', { name, reason: 'told to' })
          await Promise.all(polls)
          for (const { status, refusal, text } of ended.slice(2)) {
            expect(status).toBe(403)
            expect(['WITHDRAWN', 'AGENT_QUARANTINED']).toContain(refusal)
            expect(text).not.toContain('"agents"')
          }
        } finally {
          for (const { end } of connections) end()
        }
      },
    },
    mesh: { ...onEach('mesh'), 'a response at the connector of its caller': atOwnConnector },
    queue: {
      'a message that came after a denial by policy': async (world) => {
        // The longest wait of a lease can end first, without a message: then nothing has been
        // shown.
        const { heard, channel, other } = await vi.waitFor(() => overtakenLease(world), deadline)
        await expectQueueRefused(world, heard, 'WITHDRAWN')
        // No message was handed out, so nothing has happened.
        expect(field(heard, 'countersign-may-have-acted')).toBe('false')
        // Unharmed: another reader of the group gets it at once, for the first time.
        const frames = await lease(world, channel, other)
        expect(frames.map(({ attempt }) => attempt)).toEqual([1])
      },
      'a message whose label its receiver may not have': async (world) => {
        const reader = await world.agent('labelled-reader', ['caller'])
        const hall = await openHall(world, ['labelled-reader'])
        await world.admin('policy.put', {
          name: 'labelled-reader.cedar',
          text: `@id("labelled-reader")
forbid(principal == Agent::"labelled-reader", action == Action::"consume", resource)
when { context.labels.contains("restricted") };`,
        })
        const sealer = await openSealer(world, hall.name, world.caller)
        const sealed = [
          ...Array.from({ length: 3 }, () => sealer.seal(orderOf({ labels: ['restricted'] }))),
          sealer.seal(orderOf()),
        ]
        await publish(
          world,
          hall.name,
          sealed.map(({ bytes }) => bytes),
        )
        const one = Buffer.from(
          JSON.stringify({ group: 'workers', count: 2, leaseMs: 30_000, waitMs: 2_000 }),
        )
        const draft = { ...draftTo(hall.name, 'leases', { body: one }), as: reader.credential() }
        const frames = parseLeases((await send(world.control, draft)).body)
        expect(frames?.map(({ offset, attempt }) => [offset, attempt])).toEqual([[4, 1]])
        // The messages that it did not receive wait for those who may have them.
        const rest = await vi.waitFor(async () => {
          const body = leaseBody()
          const heard = await send(world.control, draftTo(hall.name, 'leases', { body }))
          const leased = parseLeases(heard.body) ?? []
          expect(leased.length).toBeGreaterThan(0)
          return leased
        }, deadline)
        expect(rest.every(({ attempt }) => attempt === 1)).toBe(true)
      },
    },
  },
)
