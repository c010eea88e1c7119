import { WATCH_OPERATION } from '@countersign/protocol'
import { expect } from 'vitest'
import type { OPERATIONS } from '../../packages/fabric/src/admin/operations.ts'
import { type Attempt, attack, worldOfFile } from '../harness/attack.ts'
import { draftTo, expectQueueRefused, leaseBody, openHall } from '../harness/channels.ts'
import { type Draft, type HeaderList, send } from '../harness/doors.ts'
import { exchangeOf, expectRefused } from '../harness/refusals.ts'
import { tokenFor } from '../harness/tokens.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** Every administrative operation. One that is added does not compile until it has its row here. */
const operations: Readonly<Record<keyof typeof OPERATIONS | typeof WATCH_OPERATION, 'refused'>> = {
  status: 'refused',
  'backup.make': 'refused',
  'agent.list': 'refused',
  'agent.show': 'refused',
  'agent.enroll': 'refused',
  'agent.quarantine': 'refused',
  'agent.restore': 'refused',
  'agent.revoke': 'refused',
  'key.create': 'refused',
  'key.list': 'refused',
  'key.revoke': 'refused',
  'activity.show': 'refused',
  'key.rotate': 'refused',
  'policy.show': 'refused',
  'policy.put': 'refused',
  'policy.explain': 'refused',
  'approval.list': 'refused',
  'approval.show': 'refused',
  'approval.approve': 'refused',
  'approval.deny': 'refused',
  'channel.list': 'refused',
  'channel.create': 'refused',
  'channel.members': 'refused',
  'channel.dead': 'refused',
  'channel.redrive': 'refused',
  'ledger.read': 'refused',
  'ledger.find': 'refused',
  'ledger.recent': 'refused',
  'ledger.check': 'refused',
  'ledger.subject': 'refused',
  'ledger.erase': 'refused',
  'ledger.retention': 'refused',
  'ledger.prune': 'refused',
  'route.list': 'refused',
  'route.put': 'refused',
  'route.delete': 'refused',
  [WATCH_OPERATION]: 'refused',
}

const get = (path: string): Draft => ({ method: 'GET', body: null, path })

/** Other routes that the fabric answers itself, to any caller that policy permits. */
const routes: Readonly<Record<string, Draft>> = {
  'the state of the mesh': get('/v1/mesh/state'),
  'the address at which it is reached': { path: '/v1/mesh/endpoints', body: '{}' },
  'entries of the ledger': { path: '/v1/mesh/entries', body: '{}' },
  ...Object.fromEntries(
    Object.keys(operations).map((operation) => [
      operation,
      { path: '/v1/admin', body: JSON.stringify({ operation, args: {} }) },
    ]),
  ),
}

/** Credentials of one that may do everything, narrowed to the receiver `other`. */
const credentials: Readonly<Record<string, (world: World) => Promise<HeaderList>>> = {
  'a key': async (world) => {
    const { name: agent } = await world.agent('narrowed', ['operator', 'caller'])
    const made = await world.admin('key.create', { agent, scopes: ['other'] })
    return [['X-Api-Key', (made as { key: string }).key]]
  },
  'a token': async (world) => {
    const agent = await world.agent('narrowed', ['operator', 'caller'])
    return [['Authorization', `Bearer ${await tokenFor(agent, { scope: 'other' })}`]]
  },
}

const narrowed =
  (what: string): Attempt =>
  async (world) => {
    const headers = (await credentials[what]?.(world)) ?? []
    for (const draft of Object.values(routes)) {
      const attempt = () => send(world.control, { ...draft, as: null, headers })
      await expectRefused(world, 'gateway', { code: 'NOT_PERMITTED', attempt })
    }
    const called = await send(world.gateway, { to: 'other', as: null, headers })
    expect(called.status).toBe(200)
  }

const receipts =
  (what: string): Attempt =>
  async (world) => {
    const headers = (await credentials[what]?.(world)) ?? []
    const agent = await world.agent('narrowed', ['operator', 'caller'])
    const made = await Promise.all(
      ['other', 'echo'].map((to) => send(world.gateway, { to, as: agent.credential() })),
    )
    const asked = made.map((heard) => ({
      ...{ ...get(`/v1/receipts/${exchangeOf(heard)}`), as: null, headers },
    }))
    const [inside, outside] = asked
    if (inside === undefined || outside === undefined) throw new Error('nothing was asked')
    expect((await send(world.control, inside)).status).toBe(200)
    const attempt = () => send(world.control, outside)
    await expectRefused(world, 'gateway', { code: 'NOT_PERMITTED', attempt })
    // With the whole credential the same agent reads both.
    const whole = { ...outside, headers: [], as: agent.credential() }
    expect((await send(world.control, whole)).status).toBe(200)
  }

const channels =
  (what: string): Attempt =>
  async (world) => {
    const headers = (await credentials[what]?.(world)) ?? []
    const { name } = await openHall(world, ['narrowed'])
    const drafts = {
      '': { method: 'GET', body: null },
      keys: { method: 'GET', body: null },
      leases: { body: leaseBody() },
      settlements: { body: '{}' },
      messages: { body: new Uint8Array(8) },
    }
    for (const [which, draft] of Object.entries(drafts)) {
      const heard = await send(world.control, {
        ...{ ...draftTo(name, which, draft), as: null, headers },
      })
      const isReadable = which !== 'settlements' && which !== 'messages'
      await expectQueueRefused(world, heard, isReadable ? 'NOT_PERMITTED' : 'MESSAGE_MALFORMED')
    }
  }

/** A world of their own: an operator that misbehaves is of no use to the shared world. */
const inWorld = worldOfFile({ receivers: ['other', 'echo'] })
const apart = (attempt: Attempt) => () => inWorld(attempt)

attack(
  verifies(
    ['authorize:scoped-token'],
    'a narrowed credential reads and changes nothing outside its scope',
  ),
  {
    gateway: {
      'by a key': apart(narrowed('a key')),
      'by a token': apart(narrowed('a token')),
      'receipts by a key': apart(receipts('a key')),
      'receipts by a token': apart(receipts('a token')),
    },
    mesh: 'certificates carry no scope',
    queue: {
      'by a key': apart(channels('a key')),
      'by a token': apart(channels('a token')),
    },
  },
)
