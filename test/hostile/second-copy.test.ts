import type { Agent } from '@countersign/sdk'
import { afterAll, expect } from 'vitest'
import { connectorAgent } from '../../packages/fabric/src/cli/connector-agent.ts'
import { openConnector } from '../../packages/fabric/src/compose/connector.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { type Attempt, attack, newName, worldOfFile } from '../harness/attack.ts'
import { trustDomain } from '../harness/doors.ts'
import { type HeldServer, openHeldServer } from '../harness/held-server.ts'
import { type LossyNetwork, openLossyAgent, openLossyProxy } from '../harness/lossy-proxy.ts'
import { policyParser } from '../harness/policies.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Asking = (agent: Agent) => Promise<unknown>

const asked: Readonly<Record<string, Asking>> = {
  call: (agent) => agent.call('echo', { path: '/act' }),
  fetch: (agent) => agent.fetch('https://echo.countersign.internal/act'),
}

type Fate = (world: World, network: LossyNetwork, reader: string) => Promise<unknown>

/** The response to the first copy is lost; what the second runs into. */
const fates: Readonly<Record<string, Fate>> = {
  'the rate limit': async (_, network) => network.loseNext(),
  quarantine: (world, network, name) => {
    network.loseNext()
    return world.admin('agent.quarantine', { name, reason: 'told to' })
  },
  'a closed port': async (_, network) => {
    network.stopListening()
    network.cut()
  },
}

/**
 * Of each reader for itself; the operator has as many, and opens the world and the fates by them.
 */
const requestsPerMinute = 8

const inWorld = worldOfFile({ receivers: ['echo'], limits: { requestsPerMinute } })
let opened: Promise<HeldServer> | null = null
afterAll(async () => (await opened)?.close())

async function openReceiver(world: World): Promise<HeldServer> {
  const receiver = await openHeldServer()
  await world.admin('route.put', { name: 'echo', upstream: receiver.url, protocol: 'http' })
  return receiver
}

async function withReceiver(attempt: (world: World, receiver: HeldServer) => Promise<void>) {
  await inWorld(async (world) => {
    opened ??= openReceiver(world)
    const receiver = await opened
    receiver.onRequest = (_, response) => response.end('{}')
    const before = receiver.bodies.length
    await attempt(world, receiver)
    expect(receiver.bodies.length - before).toBe(requestsPerMinute)
  })
}

/** Uses up the allowance except for one request, over a connection that is used again for that. */
async function warmUp(ask: () => Promise<{ text(): Promise<string> }>): Promise<void> {
  for (let i = 1; i < requestsPerMinute; i++) expect(await (await ask()).text()).toBe('{}')
}

const bySdk = (fate: Fate, ask: Asking) => () =>
  withReceiver(async (world, receiver) => {
    const reader = newName('reader')
    const lossy = await openLossyAgent(world, reader)
    try {
      await warmUp(() => lossy.agent.call('echo'))
      receiver.onRequest = (_, response) =>
        void fate(world, lossy, reader).then(() => response.end('{}'))
      const error = await ask(lossy.agent).then(
        () => null,
        (cause: unknown) => cause,
      )
      expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', mayHaveActed: true, retry: false })
    } finally {
      await lossy.close()
    }
  })

const byConnector = (fate: Fate) => () =>
  withReceiver(async (world, receiver) => {
    const reader = newName('reader')
    const network = await openLossyProxy(world)
    const connector = await openConnector({
      agent: connectorAgent(await world.agent(reader, ['caller']), world.clock),
      gateway: { url: network.url, spiffeId: `spiffe://${trustDomain}/fabric/gateway` },
      ...{ expose: null, protocol: 'auto', clock: world.clock, random: systemRandom },
      listen: { host: '127.0.0.1', port: 0 },
      meshListen: { host: '127.0.0.1', port: 0, advertise: null },
      usedValues: { dir: null, isFirst: true },
      responseLimits: {},
      policyParser,
      log: () => undefined,
    })
    try {
      await warmUp(() => fetch(`${connector.loopbackUrl}/echo/`))
      receiver.onRequest = (_, response) =>
        void fate(world, network, reader).then(() => response.end('{}'))
      const { headers } = await fetch(`${connector.loopbackUrl}/echo/act`)
      expect(headers.get('countersign-refusal')).toBe('OUTCOME_UNKNOWN')
      expect(headers.get('countersign-may-have-acted')).toBe('true')
    } finally {
      await connector.close()
      await network.close()
    }
  })

const ofEach = (attempt: (fate: Fate) => Attempt): Readonly<Record<string, Attempt>> =>
  Object.fromEntries(Object.entries(fates).map(([name, fate]) => [name, attempt(fate)]))

const named = (way: string, told: Readonly<Record<string, Attempt>>) =>
  Object.fromEntries(Object.entries(told).map(([name, attempt]) => [`${way}: ${name}`, attempt]))

attack(
  verifies(
    ['deliver:unknown-outcome'],
    'the fate of a second copy does not imply that the first was not acted on',
  ),
  {
    gateway: Object.assign(
      {},
      ...Object.entries(asked).map(([way, ask]) =>
        named(
          way,
          ofEach((fate) => bySdk(fate, ask)),
        ),
      ),
    ) as Readonly<Record<string, Attempt>>,
    mesh: ofEach(byConnector),
    queue: 'tested by lost-response, where a message is published twice',
  },
)
