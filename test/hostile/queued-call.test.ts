import type { Agent } from '@countersign/sdk'
import { expect, vi } from 'vitest'
import { attack, inOwnWorld } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { send } from '../harness/doors.ts'
import { type HeldServer, openHeldServer } from '../harness/held-server.ts'
import { type LossyAgent, openLossyAgent } from '../harness/lossy-proxy.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** Connections that the SDK opens, and the gateway to one receiver for one caller. */
const sdkSockets = 128
const gatewaySockets = 32

type Asking = (agent: Agent) => Promise<unknown>

/** A call that waits for a connection of the SDK gets one that another call has just freed. */
const queuedInSdk = (ask: Asking) => () =>
  inOwnWorld({ receivers: ['echo', 'other'] }, async (world) => {
    const busy = await openHeldServer()
    const receiver = await openHeldServer()
    await world.admin('route.put', { name: 'echo', upstream: busy.url, protocol: 'http' })
    await world.admin('route.put', { name: 'other', upstream: receiver.url, protocol: 'http' })
    const lossy = await openLossyAgent(world, 'queued')
    try {
      await askQueued(lossy, { busy, receiver, ask })
      expect(receiver.bodies).toEqual(['pay'])
    } finally {
      await lossy.close()
      await busy.close()
      await receiver.close()
    }
  })

async function askQueued(
  { agent, cut }: LossyAgent,
  { busy, receiver, ask }: Record<'busy' | 'receiver', HeldServer> & { ask: Asking },
): Promise<void> {
  const others = Array.from({ length: sdkSockets }, () =>
    agent.call('echo', { body: 'busy' }).then(
      (reply) => reply.text(),
      () => null,
    ),
  )
  await vi.waitFor(() => expect(busy.held.length).toBe(gatewaySockets), deadline)
  receiver.onRequest = () => cut()
  const asking = ask(agent).then(
    () => null,
    (error: unknown) => error,
  )
  busy.held.shift()?.end('done')
  expect(await asking).toMatchObject({ code: 'OUTCOME_UNKNOWN', mayHaveActed: true, retry: false })
  // Some came after the cut.
  busy.onRequest = (_, response) => response.end('done')
  for (const response of busy.held) response.end('done')
  await Promise.all(others)
}

/** The same of a request that waits for a connection to its receiver. */
async function queuedAtGateway(world: World): Promise<void> {
  const receiver = await openHeldServer()
  await world.agent('queued-up', ['open'])
  await world.admin('route.put', { name: 'queued-up', upstream: receiver.url, protocol: 'http' })
  const others = Array.from({ length: gatewaySockets }, () =>
    send(world.gateway, { to: 'queued-up', body: '"busy"' }),
  )
  await vi.waitFor(() => expect(receiver.held.length).toBe(gatewaySockets), deadline)
  receiver.onRequest = (_, response) => response.destroy()
  const asking = send(world.gateway, { to: 'queued-up', body: '"pay"' })
  receiver.held.shift()?.end('done')
  const heard = await asking
  expect(heard.headers.get('countersign-refusal')).toEqual(['OUTCOME_UNKNOWN'])
  expect(heard.headers.get('countersign-may-have-acted')).toEqual(['true'])
  expect(receiver.bodies.filter((body) => body === '"pay"')).toHaveLength(1)
  for (const response of receiver.held) response.end('done')
  await Promise.all(others)
  await receiver.close()
}

attack(
  verifies(
    ['deliver:unknown-outcome'],
    'a request that waited for a connection and left is not reported as one that never was sent',
  ),
  {
    gateway: {
      'a call of the SDK': queuedInSdk((agent) => agent.call('other', { body: 'pay' })),
      'a fetch of the SDK': queuedInSdk((agent) =>
        agent.fetch('https://other.countersign.internal/', { method: 'POST', body: 'pay' }),
      ),
      'a request of the gateway': queuedAtGateway,
    },
    mesh: 'a connector sends with the pool of the gateway',
    queue: 'a channel sends with the connections of a call',
  },
)
