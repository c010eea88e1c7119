import { parseLeases } from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { expect, vi } from 'vitest'
import { type Attempt, attack, newName, worldOfFile } from '../harness/attack.ts'
import { draftTo, leaseBody, openHall, openSealer, orderOf, publish } from '../harness/channels.ts'
import { deadline } from '../harness/deadline.ts'
import { send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

interface Channel {
  readonly world: World
  readonly name: string
  readonly sender: Identity
  readonly reader: Identity
  /** Publishes as `sender`. */
  put(count: number, labels?: readonly string[]): Promise<void>
  /** The offsets that the reader gets in one lease, and the facts of its outcome. */
  take(group?: string): Promise<{
    readonly offsets: readonly number[]
    readonly attempts: readonly number[]
    readonly facts: Readonly<Record<string, unknown>>
  }>
}

const inWorld = worldOfFile({ receivers: [] })

const onChannel =
  (scene: (channel: Channel) => Promise<void>): Attempt =>
  () =>
    inWorld(async (world) => {
      const { name, members } = await openHall(
        world,
        ['reader', 'sender'].map((role) => newName(role)),
      )
      const [, reader, sender] = members
      if (reader === undefined || sender === undefined) throw new Error('a member is missing')
      const sealer = await openSealer(world, name, sender)
      await scene({
        ...{ world, name, sender, reader },
        async put(count, labels = []) {
          const sealed = Array.from({ length: count }, () => sealer.seal(orderOf({ labels })).bytes)
          expect((await publish(world, name, sealed, sender)).status).toBe(200)
        },
        async take() {
          const draft = draftTo(name, 'leases', { body: leaseBody() })
          const heard = await send(world.control, { ...draft, as: reader.credential() })
          const frames = parseLeases(heard.body)
          if (frames === null) throw new Error(heard.body.toString())
          const facts = (await world.explain(exchangeOf(heard))).at(-1)?.facts ?? {}
          const offsets = frames.map(({ offset }) => offset)
          return { offsets, attempts: frames.map(({ attempt }) => attempt), facts }
        },
      })
    })

const forbidden = (world: World, text: string) =>
  world.admin('policy.put', { name: 'late.cedar', text })

attack(
  verifies(['revoke:sender'], 'a message from a sender that lost its right is not handed out'),
  {
    gateway: 'messages wait on channels only',
    mesh: 'messages wait on channels only',
    queue: {
      'in quarantine it is held, and handed out once the sender is released': onChannel(
        async ({ world, put, take, sender }) => {
          await put(2)
          await world.admin('agent.quarantine', { name: sender.name, reason: 'told to' })
          const { offsets, facts } = await take()
          expect(offsets).toEqual([])
          expect(facts).toMatchObject({ messages: 0, 'messages.held': 2 })
          await world.admin('agent.restore', { name: sender.name, reason: 'told to' })
          await world.clock.later(11_000, async () => {
            // As if they had never been looked at.
            expect(await take()).toMatchObject({ offsets: [1, 2], attempts: [1, 1] })
          })
        },
      ),
      'of a revoked sender it is a dead letter': onChannel(
        async ({ world, name, put, take, sender }) => {
          await put(2)
          await world.admin('agent.revoke', { name: sender.name, reason: 'told to' })
          const { offsets, facts } = await take()
          expect(offsets).toEqual([])
          expect(facts).toMatchObject({ messages: 0, 'offsets.dead': '1 2' })
          expect(await world.admin('channel.dead', { name })).toMatchObject([
            { offset: 1, reason: 'its sender was revoked' },
            { offset: 2, reason: 'its sender was revoked' },
          ])
          await world.clock.later(11_000, async () => {
            expect((await take()).facts).not.toHaveProperty('offsets.dead')
          })
        },
      ),
      'messages that policy now denies are kept back, by the labels of each message': onChannel(
        async ({ world, put, take, sender }) => {
          await put(1)
          await put(1, ['restricted'])
          await forbidden(
            world,
            `@id("late") forbid(principal == Agent::"${sender.name}", action == Action::"publish", resource)
when { context.labels.contains("restricted") };`,
          )
          expect((await take()).offsets).toEqual([1])
          await forbidden(
            world,
            '@id("late") forbid(principal == Agent::"other", action, resource);',
          )
          await world.clock.later(11_000, async () => {
            expect(await take()).toMatchObject({ offsets: [2], attempts: [1] })
          })
        },
      ),
      'a flood of it does not hide what others sent': onChannel(
        async ({ world, name, put, take, sender }) => {
          for (let batch = 0; batch < 5; batch++) await put(64)
          const other = await openSealer(world, name, world.caller)
          await publish(world, name, [other.seal(orderOf()).bytes])
          await world.admin('agent.quarantine', { name: sender.name, reason: 'told to' })
          await vi.waitFor(async () => expect((await take()).offsets).toEqual([321]), deadline)
        },
      ),
    },
  },
)
