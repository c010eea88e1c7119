import { sign } from 'node:crypto'
import {
  encodeLeaseRequest,
  messageDigest,
  messageSignatureInput,
  parseLeases,
  parseSealedMessage,
} from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { expect } from 'vitest'
import { sha256OfParts } from '../../packages/fabric/src/lib/sha256.ts'
import { type Attempt, attack, newName, worldOfFile } from '../harness/attack.ts'
import { draftTo, openHall, openSealer, orderOf, publish } from '../harness/channels.ts'
import { send } from '../harness/doors.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

interface Taking {
  readonly count: number
  readonly as: Identity
}

interface Flooded {
  readonly world: World
  readonly name: string
  readonly reader: Identity
  readonly second: Identity
  readonly sender: Identity
  /** As `sender`, in requests of 64. */
  flood(count: number, labels: readonly string[]): Promise<void>
  /** One message of the other member. */
  putOther(): Promise<void>
  /**
   * Returns the messages of one lease that may wait as long as the SDK's, as offset and attempt.
   */
  take(taking?: Partial<Taking>): Promise<readonly (readonly [number, number])[]>
}

const inWorld = worldOfFile({ receivers: [] })

const onChannel =
  (scene: (channel: Flooded) => Promise<void>): Attempt =>
  () =>
    inWorld(async (world) => {
      const roles = ['reader', 'second', 'sender'] as const
      const { name, members } = await openHall(
        world,
        roles.map((role) => newName(role)),
      )
      const [, reader, second, sender] = members
      if (reader === undefined || second === undefined || sender === undefined) {
        throw new Error('a member is missing')
      }
      const sealer = await openSealer(world, name, sender)
      const other = await openSealer(world, name, world.caller)
      await scene({
        ...{ world, name, reader, second, sender },
        async flood(count, labels) {
          for (let left = count; left > 0; left -= 64) {
            const orders = Array.from({ length: Math.min(left, 64) }, () => orderOf({ labels }))
            const sealed = orders.map((order) => sealer.seal(order).bytes)
            expect((await publish(world, name, sealed, sender)).status).toBe(200)
          }
        },
        async putOther() {
          expect((await publish(world, name, [other.seal(orderOf()).bytes])).status).toBe(200)
        },
        async take({ count = 32, as = reader } = {}) {
          const asked = { group: 'workers', count, leaseMs: 60_000, waitMs: 20_000 }
          const draft = draftTo(name, 'leases', { body: encodeLeaseRequest(asked) })
          const heard = await send(world.control, { ...draft, as: as.credential() })
          const frames = parseLeases(heard.body)
          if (frames === null) throw new Error(heard.body.toString())
          return frames.map(({ offset, attempt }) => [offset, attempt] as const)
        },
      })
    })

const forbidLabel = (world: World, reader: string, label = 'restricted') =>
  world.admin('policy.put', {
    name: 'labels.cedar',
    text: `@id("labels") forbid(principal == Agent::"${reader}", action == Action::"consume", resource)
when { context.labels.contains("${label}") };`,
  })

/** `sealed` with the ordering key that `victim` uses, signed by the one who sends it. */
function underKeyOf(victim: Uint8Array, sealed: Uint8Array, sender: Identity): Uint8Array {
  const [theirs, own] = [parseSealedMessage(victim), parseSealedMessage(sealed)]
  const [key, replaced] = [theirs?.header.orderingHash, own?.header.orderingHash]
  if (!own || !key || !replaced) throw new Error('no ordering key')
  const core = Buffer.from(own.core)
  core.set(key, core.indexOf(replaced))
  const input = messageSignatureInput(messageDigest(core, sha256OfParts))
  return Buffer.concat([core, sign(null, input, sender.signing.privateKey)])
}

attack(
  verifies(
    ['lease:passed-over', 'revoke:sender'],
    'a flood of what may not be handed over does not hide what others sent',
  ),
  {
    gateway: 'messages wait on channels only',
    mesh: 'messages wait on channels only',
    queue: {
      'of messages with a label that the reader may not have': onChannel(
        async ({ world, reader, second, flood, putOther, take }) => {
          await forbidLabel(world, reader.name)
          await flood(400, ['restricted'])
          await putOther()
          expect(await take()).toEqual([[401, 1]])
          // Later messages come at once, and nothing is lost for a reader who may have it.
          await putOther()
          expect(await take({ count: 1 })).toEqual([[402, 1]])
          const seen: (readonly [number, number])[] = []
          while (seen.length < 400) seen.push(...(await take({ count: 256, as: second })))
          expect(seen).toEqual(Array.from({ length: 400 }, (_, i) => [i + 1, 1]))
        },
      ),
      'of a sender in quarantine, taken one at a time': onChannel(
        async ({ world, sender, flood, putOther, take }) => {
          await flood(1024, [])
          await putOther()
          await world.admin('agent.quarantine', { name: sender.name, reason: 'told to' })
          expect(await take({ count: 1 })).toEqual([[1025, 1]])
          await world.admin('agent.restore', { name: sender.name, reason: 'told to' })
          expect(await take({ count: 2 })).toEqual([
            [1, 1],
            [2, 1],
          ])
        },
      ),
      'of new messages, where the wanted one was passed over before': onChannel(
        async ({ world, reader, flood, putOther, take }) => {
          await forbidLabel(world, reader.name)
          await flood(1, ['restricted'])
          await putOther()
          expect(await take({ count: 1 })).toEqual([[2, 1]])
          await forbidLabel(world, reader.name, 'secret')
          await flood(600, ['secret'])
          expect(await take({ count: 1 })).toEqual([[1, 1]])
        },
      ),
      "under another sender's ordering key": onChannel(async ({ world, name, sender, take }) => {
        const own = await openSealer(world, name, world.caller)
        const attacker = await openSealer(world, name, sender)
        const victim = own.seal(orderOf({ orderingKey: 'a' })).bytes
        const ownBytes = attacker.seal(orderOf({ orderingKey: 'a' })).bytes
        const forged = underKeyOf(victim, ownBytes, sender)
        expect((await publish(world, name, [forged], sender)).status).toBe(200)
        expect((await publish(world, name, [victim])).status).toBe(200)
        await world.admin('agent.quarantine', { name: sender.name, reason: 'told to' })
        expect(await take({ count: 1 })).toEqual([[2, 1]])
      }),
    },
  },
)
