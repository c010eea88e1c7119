import { encodeFrames, parseLeases } from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { expect } from 'vitest'
import { settlementOf } from '../harness/acknowledgements.ts'
import { type Attempt, attack } from '../harness/attack.ts'
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
import { agentId, type Draft, field, type HeaderList, refusalOf, send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** A request of a member that would be carried out, with the agent that makes it. */
interface Asking {
  readonly channel: string
  readonly by: Identity
  readonly draft: Draft
}

async function openScene(world: World) {
  const { name: channel, members } = await openHall(world)
  const [caller = world.caller, listener = world.caller] = members
  return { channel, caller, listener, sealer: await openSealer(world, channel, caller) }
}

const askings: Readonly<Record<string, (world: World) => Promise<Asking>>> = {
  async messages(world) {
    const { channel, caller, sealer } = await openScene(world)
    const body = encodeFrames([sealer.seal(orderOf()).bytes])
    return { channel, by: caller, draft: draftTo(channel, 'messages', { body }) }
  },
  async leases(world) {
    const { channel, listener } = await openScene(world)
    return { channel, by: listener, draft: draftTo(channel, 'leases', { body: leaseBody() }) }
  },
  async settlements(world) {
    const { channel, listener, sealer } = await openScene(world)
    await publish(world, channel, [sealer.seal(orderOf()).bytes])
    const [frame] = await lease(world, channel, listener)
    if (frame === undefined) throw new Error('nothing was leased')
    const body = settlementOf([{ frame, listener }])
    return { channel, by: listener, draft: draftTo(channel, 'settlements', { body }) }
  },
}

type Edit = (headers: HeaderList, world: World, asking: Asking) => HeaderList | Promise<HeaderList>

/** The request with its maker's honest signature, of which `edit` makes another one. */
async function askSigned(world: World, { channel, by, draft }: Asking, edit: Edit) {
  const honest = await signed(world.control, by, { ...draft, to: channel })
  const headers = await edit(honest.headers ?? [], world, { channel, by, draft })
  return send(world.control, { ...draft, headers, as: by.credential() })
}

const each =
  (change: (name: string, value: string) => string): Edit =>
  (headers) =>
    headers.map(([name, value]) => [
      name,
      name.startsWith('signature') ? change(name, value) : value,
    ])

/** Next to the honest signature, one of another member over the same request. */
const beside =
  (label: string, tag: string): Edit =>
  async (headers, world, { channel, draft }) => {
    const thief = await world.agent('second-signer', ['caller'])
    const other = await signed(world.control, thief, { ...draft, to: channel })
    const extra = new Map(other.headers)
    return headers.map(([name, value]) => {
      if (!name.startsWith('signature')) return [name, value]
      const second = String(extra.get(name)).replace(/^caller=/, `${label}=`)
      return [name, `${value}, ${second.replace('tag="countersign"', `tag="${tag}"`)}`]
    })
  }

const refusals: Readonly<Record<string, Edit>> = {
  'one label twice': each((_, value) => `${value}, ${value}`),
  'one label twice, first of another': each((name, value) =>
    name === 'signature' ? `caller=:${'A'.repeat(86)}==:, ${value}` : `${value}, ${value}`,
  ),
  'two of ours, one by another member': beside('second', 'countersign'),
  'a label in capitals': each((_, value) => value.replace('caller=', 'Caller=')),
  'an empty label': each((_, value) => value.replace('caller=', '=')),
  'a signature without its input': (headers) =>
    headers.filter(([name]) => name !== 'signature-input'),
  'an input without its signature': (headers) => headers.filter(([name]) => name !== 'signature'),
  'one for the agent of another channel': async (_, world, { channel, by, draft }) => {
    const other = await signed(world.control, by, { ...draft, to: `${channel}-2` })
    return other.headers ?? []
  },
  'one of another member alone': async (_, world, { channel, draft }) => {
    const thief = await world.agent('second-signer', ['caller'])
    return (await signed(world.control, thief, { ...draft, to: channel })).headers ?? []
  },
}

const believed: Readonly<Record<string, readonly [Edit, string]>> = {
  'the maker’s own': [(headers) => headers, 'caller'],
  'the maker’s own, under the label of the fabric': [
    each((_, value) => value.replace('caller=', 'fabric=')),
    'caller',
  ],
  'the maker’s own, under the label of a receiver': [
    each((_, value) => value.replace('caller=', 'callee=')),
    'caller',
  ],
  'the maker’s own next to one of another application': [beside('fabric', 'another'), 'caller'],
}

const forgedFields: HeaderList = [
  ['Countersign-From', agentId('operator')],
  ['Countersign-Exchange', 'exc_a_00000000000070008000000000000000'],
  ['Countersign-Refusal', 'RATE_LIMITED'],
  ['Countersign-Disposition', 'dead-letter'],
  ['Countersign-Withdrawal', 'undecided'],
  ['Countersign-Receipt', '/v1/receipts/x'],
  ['Countersign-Attested', 'caller'],
  ['Countersign-Labels', 'reviewed'],
  ['Countersign-May-Have-Acted', 'true'],
]

const onEachWay = Object.fromEntries(
  Object.entries(askings).flatMap(([what, asked]): [string, Attempt][] => [
    ...Object.entries(refusals).map(([way, edit]): [string, Attempt] => [
      `${what}: ${way}`,
      async (world) => {
        const heard = await askSigned(world, await asked(world), edit)
        await expectQueueRefused(world, heard, 'SIGNATURE_REJECTED')
      },
    ]),
    ...Object.entries(believed).map(([way, [edit, attestor]]): [string, Attempt] => [
      `${what}: ${way} is its word`,
      async (world) => {
        const asking = await asked(world)
        const heard = await askSigned(world, asking, edit)
        expect(refusalOf(heard)).toBeNull()
        const [intent] = await world.explain(exchangeOf(heard))
        expect(intent?.facts).toMatchObject({
          ...{ 'attested.request': attestor, caller: agentId(asking.by.name) },
        })
      },
    ]),
    [
      `${what}: with fields that only the fabric writes`,
      async (world) => {
        const { draft, by, channel } = await asked(world)
        const as = by.credential()
        const heard = await send(world.control, { ...draft, headers: forgedFields, as })
        expect(heard.status).toBe(200)
        for (const name of ['countersign-refusal', 'countersign-disposition', 'countersign-from']) {
          expect(field(heard, name), name).toBeNull()
        }
        const exchange = exchangeOf(heard)
        expect(exchange).not.toBe('exc_a_00000000000070008000000000000000')
        const entries = await world.explain(exchange)
        expect(entries.map(({ kind }) => kind)).toEqual(['intent', 'outcome'])
        expect(entries[0]?.facts).toMatchObject({
          ...{ caller: agentId(by.name), receiver: channel, 'attested.request': 'fabric' },
        })
      },
    ],
  ]),
)

/**
 * A receiver gets the content that its sender sealed; none of it stands next to the fabric’s own
 * statements.
 */
const sealedRefusal: Attempt = async (world) => {
  const { channel, listener, sealer } = await openScene(world)
  const problem = { type: 'about:blank', code: 'RATE_LIMITED', retry: true, status: 429 }
  const { bytes } = sealer.seal(
    orderOf({
      body: Buffer.from(JSON.stringify(problem)),
      contentType: 'application/problem+json',
    }),
  )
  await publish(world, channel, [bytes])
  const draft = draftTo(channel, 'leases', { body: leaseBody() })
  const heard = await send(world.control, { ...draft, as: listener.credential() })
  expect([heard.status, refusalOf(heard), field(heard, 'countersign-disposition')]).toEqual([
    ...[200, null, null],
  ])
  expect(parseLeases(heard.body)?.map(({ sealed }) => Buffer.compare(sealed, bytes))).toEqual([0])
}

/**
 * The fabric gives reasons of its own to what it sets aside; a consumer’s are shown as the
 * consumer’s.
 */
const imitatedReason =
  (reason: string): Attempt =>
  async (world) => {
    const { channel, listener, sealer } = await openScene(world)
    await publish(world, channel, [sealer.seal(orderOf()).bytes])
    const [frame] = await lease(world, channel, listener)
    if (frame === undefined) throw new Error('nothing was leased')
    const body = settlementOf([{ frame, listener, verdict: 'reject', reason }])
    const draft = draftTo(channel, 'settlements', { body })
    const heard = await send(world.control, { ...draft, as: listener.credential() })
    expect(refusalOf(heard)).toBeNull()
    const letters = await world.admin('channel.dead', { name: channel })
    expect(letters).toMatchObject([{ offset: frame.offset, reason: `${listener.name}: ${reason}` }])
  }

const labelled =
  (label: string): Attempt =>
  async (world) => {
    const { sealer } = await openScene(world)
    expect(() => sealer.seal(orderOf({ labels: [label] }))).toThrow(TypeError)
  }

attack(
  verifies(
    ['authenticate:signature', 'inspect:refusals-are-ours'],
    'on a channel no member speaks for another member or for the fabric',
  ),
  {
    gateway: 'tested by signature-label, forged-identity-header and imitated-refusal',
    mesh: 'tested by signature-label, forged-identity-header and imitated-refusal',
    queue: {
      ...onEachWay,
      'a refusal as a sealed message': sealedRefusal,
      'a message that its sender was revoked': imitatedReason('its sender was revoked'),
      'a message that it was tried too often': imitatedReason('ATTEMPTS_EXHAUSTED'),
      'a label in the name of the fabric': labelled('countersign-reviewed'),
      'a label that is the name of the fabric': labelled('countersign'),
    },
  },
)
