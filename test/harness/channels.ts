import { randomBytes } from 'node:crypto'
import {
  CHANNEL_FRAMES_TYPE,
  type ChannelDescriptor,
  encodeFrames,
  encodeLeaseRequest,
  KEY_LOG_LIMITS,
  type LeasedFrame,
  type PublishAnswer,
  parseDescriptor,
  parseFrames,
  parseLeases,
  parsePublishAnswer,
  parseSignedDescriptor,
  type RefusalCode,
} from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { expect } from 'vitest'
import { QUEUE_WIRE } from '../../packages/fabric/src/channels/wire.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { createSealer, type Sealer, type SealRequest } from '../../packages/sdk/src/channel/seal.ts'
import type { Attempt } from './attack.ts'
import { type Draft, refusalOf, send } from './doors.ts'
import type { Heard } from './raw-http.ts'
import { exchangeOf, expectRefused } from './refusals.ts'
import type { World } from './world.ts'

/** A channel with its members, of which the first is the caller of the world. */
export interface Hall {
  readonly name: string
  readonly members: readonly Identity[]
}

let halls = 0

/** A channel of its own for one attack, between the caller of the world and these others. */
export async function openHall(
  world: World,
  others: readonly string[] = ['listener'],
): Promise<Hall> {
  const members = [world.caller]
  for (const name of others) members.push(await world.agent(name, ['caller']))
  const name = `hall-${halls++}`
  await world.admin('channel.create', { name, members: members.map((each) => each.name) })
  return { name, members }
}

export function draftTo(channel: string, what: string, draft: Draft = {}): Draft {
  const path = `/v1/channels/${channel}${what === '' ? '' : `/${what}`}`
  return { contentType: 'application/json', ...draft, path }
}

export async function describe(world: World, channel: string): Promise<ChannelDescriptor> {
  const heard = await send(world.control, draftTo(channel, '', { method: 'GET', body: null }))
  const signed = parseSignedDescriptor(heard.body)
  const descriptor = signed === null ? null : parseDescriptor(signed.payload)
  if (descriptor === null) throw new Error(heard.body.toString())
  return descriptor
}

/** A session of `identity`, whose key every member has; like an honest sender's. */
export async function openSealer(
  world: World,
  channel: string,
  identity: Identity,
  change: Partial<Parameters<typeof createSealer>[0]> = {},
): Promise<Sealer> {
  const { epoch, members } = await describe(world, channel)
  const sealer = createSealer({
    ...{ identity, channel, epoch, suite: 1, padding: 'block' },
    ...{ clock: world.clock, random: systemRandom },
    ...change,
  })
  const body = await sealer.keyMessage(members)
  await send(world.control, {
    ...draftTo(channel, 'keys', { body, contentType: CHANNEL_FRAMES_TYPE }),
    as: identity.credential(),
  })
  return sealer
}

export const secretText = 'the treasure is under the old oak'

export function orderOf(change: Partial<SealRequest> = {}): SealRequest {
  return {
    body: Buffer.from(secretText),
    contentType: 'text/plain',
    labels: [],
    orderingKey: null,
    idempotencyKey: randomBytes(8).toString('hex'),
    lifetimeMs: 600_000,
    messageId: null,
    ...change,
  }
}

export function publish(
  world: World,
  channel: string,
  sealed: readonly Uint8Array[],
  as: Identity = world.caller,
): Promise<Heard> {
  const body = encodeFrames(sealed)
  const draft = draftTo(channel, 'messages', { body, contentType: CHANNEL_FRAMES_TYPE })
  return send(world.control, { ...draft, as: as.credential() })
}

export function publishedIn(heard: Heard): PublishAnswer {
  const answer = parsePublishAnswer(heard.body)
  if (answer === null) throw new Error(heard.body.toString())
  return answer
}

export const group = 'workers'

export function leaseBody(leaseMs: number = 30_000): Uint8Array {
  return encodeLeaseRequest({ group, count: 10, leaseMs, waitMs: 0 })
}

export async function lease(
  world: World,
  channel: string,
  as: Identity,
  leaseMs: number = 30_000,
): Promise<readonly LeasedFrame[]> {
  const draft = draftTo(channel, 'leases', { body: leaseBody(leaseMs) })
  const heard = await send(world.control, { ...draft, as: as.credential() })
  const leased = parseLeases(heard.body)
  if (heard.status !== 200 || leased === null) throw new Error(heard.body.toString())
  return leased
}

/** Refused for what only the channel knows at that moment, which can be after the intent. */
const ofTheChannel: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  'IDEMPOTENCY_CONFLICT',
  'RATE_LIMITED',
  'WITHDRAWN',
])

/**
 * Expects what the attacker receives on the queue, and what the ledger holds of it: membership and
 * signatures are checked before an intent, so that its refusal is the only entry.
 */
export async function expectQueueRefused(
  world: World,
  heard: Heard,
  code: RefusalCode,
): Promise<void> {
  expect({ refusal: refusalOf(heard), body: heard.body.toString() }).toMatchObject({
    refusal: code,
  })
  const { status, disposition } = QUEUE_WIRE[code]
  expect(heard.status).toBe(status)
  expect(heard.headers.get('countersign-disposition')).toEqual([disposition])
  const entries = await world.explain(exchangeOf(heard))
  expect(entries.at(-1)?.facts).toMatchObject({ code })
  if (!ofTheChannel.has(code)) expect(entries.map(({ kind }) => kind)).toEqual(['refusal'])
}

/**
 * An attack that misstates the caller: a lease in the hall of the caller, with whatever the draft
 * changes.
 */
export function refusedOnQueue(
  code: RefusalCode,
  draftOf: (world: World) => Draft | Promise<Draft>,
): Attempt {
  return async (world) => {
    const { name } = await openHall(world)
    const draft = draftTo(name, 'leases', { body: leaseBody(), ...(await draftOf(world)) })
    await expectRefused(world, 'gateway', { code, attempt: () => send(world.control, draft) })
  }
}

export async function keyLog(world: World, channel: string): Promise<readonly Uint8Array[]> {
  const draft = draftTo(channel, 'keys?epoch=1', { method: 'GET', body: null })
  const logged = parseFrames((await send(world.control, draft)).body, KEY_LOG_LIMITS)
  if (logged === null) throw new Error('no key log')
  return logged
}
