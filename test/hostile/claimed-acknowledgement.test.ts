import { expect } from 'vitest'
import { acknowledge, leaseTwo, settledIn, settlementOf } from '../harness/acknowledgements.ts'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import {
  draftTo,
  expectQueueRefused,
  lease,
  openHall,
  openSealer,
  orderOf,
  publish,
} from '../harness/channels.ts'
import { send } from '../harness/doors.ts'
import type { Heard } from '../harness/raw-http.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const acked = /^ack\./

async function outcomeOf(world: World, heard: Heard) {
  const closing = (await world.explain(exchangeOf(heard))).at(-1)
  if (closing === undefined) throw new Error('nothing is on record')
  return closing.facts
}

/** Nothing was settled, and no entry can be shown as an acknowledgement. */
async function expectNothingAcknowledged(world: World, heard: Heard, offset: number) {
  expect(settledIn(heard)).toEqual({ settled: [false] })
  const facts = await outcomeOf(world, heard)
  expect(Object.keys(facts).filter((name) => acked.test(name))).toEqual([])
  expect(facts).toMatchObject({ messages: 1, settled: 0, 'settled.lost': String(offset) })
}

/** As an honest settlement, except for what `change` does to its JSON. */
const reworded =
  (change: (settlement: Record<string, unknown>) => Record<string, unknown>): Attempt =>
  async (world) => {
    const scene = await leaseTwo(world)
    const honest = settlementOf([scene])
    const body = JSON.stringify(change(JSON.parse(Buffer.from(honest).toString())))
    const draft = draftTo(scene.channel, 'settlements', { body })
    const as = scene.listener.credential()
    await expectQueueRefused(
      world,
      await send(world.control, { ...draft, as }),
      'MESSAGE_MALFORMED',
    )
    expect(settledIn(await acknowledge(world, scene))).toEqual({ settled: [true] })
  }

const itemsOf = (settlement: Record<string, unknown>) => settlement['items'] as unknown[][]

const members: Readonly<Record<string, unknown>> = {
  at: 1_600_000_000_000,
  settledAt: '2020-01-01T00:00:00Z',
  'ack.countersigned': 'AAAA',
  'ack.key-id': 'another',
  caller: 'spiffe://countersign.local/agent/operator',
  acknowledged: true,
}

attack(
  verifies(
    ['queue:acknowledgement-countersigned', 'queue:fenced-acknowledgement'],
    'a record states an acknowledgement of no message but what its consumer held and settled',
  ),
  {
    gateway: 'leases exist on channels only',
    mesh: 'leases exist on channels only; facts of others that a connector states are tested by poisoned-fact',
    queue: {
      'a message that was never handed out': async (world) => {
        const { name, members: hall } = await openHall(world)
        const [, listener = world.caller] = hall
        const sealer = await openSealer(world, name, world.caller)
        const { bytes } = sealer.seal(orderOf())
        await publish(world, name, [bytes])
        // Its sender knows every byte of it, and its listener could have them from its sender.
        const frame = { offset: 1, leaseToken: 'x'.repeat(44), sealed: bytes }
        for (const by of [world.caller, listener]) {
          const heard = await acknowledge(world, { channel: name, frame, listener: by })
          await expectNothingAcknowledged(world, heard, 1)
        }
        const frames = await lease(world, name, listener)
        expect(frames.map(({ offset, attempt }) => [offset, attempt])).toEqual([[1, 1]])
      },
      'a message that another member holds': async (world) => {
        const scene = await leaseTwo(world)
        const heard = await acknowledge(world, { ...scene, listener: world.caller })
        await expectNothingAcknowledged(world, heard, scene.frame.offset)
        expect(settledIn(await acknowledge(world, scene))).toEqual({ settled: [true] })
      },
      'a message that it settled before': async (world) => {
        const scene = await leaseTwo(world)
        const first = await acknowledge(world, scene)
        expect(await outcomeOf(world, first)).toMatchObject({
          ...{ messages: 1, settled: 1, 'settled.ack': String(scene.frame.offset) },
          'ack.key-id': scene.listener.signing.keyId,
        })
        await expectNothingAcknowledged(world, await acknowledge(world, scene), scene.frame.offset)
      },
      'one that it held, and with it one that it did not': async (world) => {
        const scene = await leaseTwo(world)
        const { other, channel, listener } = scene
        const lost = { ...other, leaseToken: 'x'.repeat(44) }
        const body = settlementOf([scene, { ...scene, frame: lost }])
        const draft = draftTo(channel, 'settlements', { body })
        const heard = await send(world.control, { ...draft, as: listener.credential() })
        expect(settledIn(heard)).toEqual({ settled: [true, false] })
        expect(await outcomeOf(world, heard)).toMatchObject({
          ...{ messages: 2, settled: 1, group: 'workers' },
          ...{ 'settled.ack': String(scene.frame.offset), 'settled.lost': String(other.offset) },
        })
      },
      'one message twice, with two verdicts': async (world) => {
        const scene = await leaseTwo(world)
        const body = settlementOf([
          { ...scene, verdict: 'ack' },
          { ...scene, verdict: 'nack' },
        ])
        const draft = draftTo(scene.channel, 'settlements', { body })
        const heard = await send(world.control, { ...draft, as: scene.listener.credential() })
        const { offset } = scene.frame
        expect(settledIn(heard)).toEqual({ settled: [true, false] })
        expect(await outcomeOf(world, heard)).toMatchObject({
          ...{ settled: 1, 'settled.ack': String(offset), 'settled.lost': String(offset) },
        })
      },
      'a message whose label it may not have any more': async (world) => {
        const name = newName('unlabelled')
        const { name: channel } = await openHall(world, [name])
        const listener = await world.agent(name)
        const sealer = await openSealer(world, channel, world.caller)
        const sealed = ['restricted', 'common'].map((label) =>
          sealer.seal(orderOf({ labels: [label] })),
        )
        await publish(
          world,
          channel,
          sealed.map(({ bytes }) => bytes),
        )
        const [frame, other] = await lease(world, channel, listener)
        if (frame === undefined || other === undefined) throw new Error('nothing was leased')
        await world.admin('policy.put', {
          name: `${name}.cedar`,
          text: `@id("${name}")
forbid(principal == Agent::"${name}", action == Action::"consume", resource)
when { context.labels.contains("restricted") };`,
        })
        const scene = { channel, listener, frame, other }
        await expectNothingAcknowledged(world, await acknowledge(world, scene), frame.offset)
        const kept = await acknowledge(world, { ...scene, frame: other })
        expect(settledIn(kept)).toEqual({ settled: [true] })
        // For those who may have it, it is neither done nor dead.
        const again = await world.clock.later(31_000, () => lease(world, channel, world.caller))
        expect(again.map(({ offset }) => offset)).toEqual([frame.offset])
      },
      ...Object.fromEntries(
        Object.entries(members).map(([name, value]) => [
          `with a member ${name}`,
          reworded((settlement) => ({ ...settlement, [name]: value })),
        ]),
      ),
      'with a time of its own in an item': reworded((settlement) => ({
        ...settlement,
        items: itemsOf(settlement).map((item) => [...item, 1_600_000_000_000]),
      })),
      'done before now': reworded((settlement) => ({
        ...settlement,
        items: itemsOf(settlement).map((item) => item.with(3, -600_000)),
      })),
      'with a verdict of the store’s own': reworded((settlement) => ({
        ...settlement,
        items: itemsOf(settlement).map((item) => item.with(2, 'return')),
      })),
      'done for a reason': reworded((settlement) => ({
        ...settlement,
        items: itemsOf(settlement).map((item) => item.with(4, 'acknowledged by the operator')),
      })),
    },
  },
)
