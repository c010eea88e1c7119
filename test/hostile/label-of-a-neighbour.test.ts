import { parsePublishAnswer } from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { expect } from 'vitest'
import { type Attempt, attack, newName, worldOfFile } from '../harness/attack.ts'
import {
  expectQueueRefused,
  openHall,
  openSealer,
  orderOf,
  publish,
  publishedIn,
} from '../harness/channels.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type LabelSets = readonly (readonly string[])[]

const rule = `@id("rule") forbid(principal == Agent::"sender", action == Action::"publish", resource)`
const reviewed = `${rule} unless { context.labels.contains("reviewed") };`
const restricted = `${rule} when { context.labels.contains("restricted") };`
const notBoth = `${rule} when { context.labels.contains("reviewed") && context.labels.contains("restricted") };`

const inWorld = worldOfFile({ receivers: [] })

/** Every set alone, and every pair: the pair passes exactly when both pass alone. */
const sets: LabelSets = [[], ['reviewed'], ['restricted'], ['restricted', 'reviewed']]

const onChannel =
  (
    text: string,
    scene: (
      put: (labelSets: LabelSets) => ReturnType<typeof publish>,
      world: World,
      sender: Identity,
    ) => Promise<void>,
  ): Attempt =>
  () =>
    inWorld(async (world) => {
      const own = newName('sender')
      const { name, members } = await openHall(world, [own])
      const [, sender] = members
      if (sender === undefined) throw new Error('a member is missing')
      const sealer = await openSealer(world, name, sender)
      const ofThis = text.replaceAll('"sender"', `"${own}"`)
      const answer = await world.admin('policy.put', { name: 'labels.cedar', text: ofThis })
      expect(answer).toMatchObject({ taken: true })
      const publishing = (labelSets: LabelSets) => {
        const sealed = labelSets.map((labels) => sealer.seal(orderOf({ labels })).bytes)
        return publish(world, name, sealed, sender)
      }
      await scene(publishing, world, sender)
    })

const eachByItself = (text: string): Attempt =>
  onChannel(text, async (put, world) => {
    const alone: boolean[] = []
    for (const labels of sets) alone.push((await put([labels])).status === 200)
    expect(new Set(alone)).toEqual(new Set([true, false]))
    for (const [i, one] of sets.entries()) {
      for (const [j, other] of sets.entries()) {
        const heard = await put([one, other])
        if (alone[i] === true && alone[j] === true) {
          expect(publishedIn(heard).results.map(({ state }) => state)).toEqual(['stored', 'stored'])
        } else {
          await expectQueueRefused(world, heard, 'NOT_PERMITTED')
          expect(parsePublishAnswer(heard.body)).toBeNull()
        }
      }
    }
  })

attack(
  verifies(
    ['inspect:labels', 'authorize:forbid-wins'],
    'the label of one message does not count for another one next to it',
  ),
  {
    gateway: 'labels stand on sealed messages only',
    mesh: 'labels stand on sealed messages only',
    queue: {
      'with a label that is required': eachByItself(reviewed),
      'with a label that is forbidden': eachByItself(restricted),
      'with two labels that are forbidden together': eachByItself(notBoth),
      'and the refusal shows the labels that were decided on': onChannel(
        reviewed,
        async (put, world) => {
          const heard = await put([['reviewed'], ['draft-of-tuesday']])
          await expectQueueRefused(world, heard, 'NOT_PERMITTED')
          const entries = await world.explain(exchangeOf(heard))
          expect(JSON.stringify(entries)).toContain('draft-of-tuesday')
        },
      ),
      'with a policy that asks for a label of what was masked': onChannel(
        `@id("masked-by-sender") @mask("card") permit(principal == Agent::"sender", action == Action::"publish", resource);`,
        async (put, world) => {
          expect((await put([['no-card'], ['a', 'no-card']])).status).toBe(200)
          await expectQueueRefused(world, await put([['no-card'], []]), 'CONTENT_UNSUPPORTED')
          await expectQueueRefused(world, await put([[], ['no-card']]), 'CONTENT_UNSUPPORTED')
        },
      ),
      'nor by making many decisions necessary': onChannel(restricted, async (put, world) => {
        const heard = await put(Array.from({ length: 33 }, (_, i) => [`l${i}`]))
        await expectQueueRefused(world, heard, 'MESSAGE_MALFORMED')
      }),
    },
  },
)
