import { expect } from 'vitest'
import { acknowledge, leaseTwo, type Signing, settledIn } from '../harness/acknowledgements.ts'
import { type Attempt, attack } from '../harness/attack.ts'
import { draftTo, expectQueueRefused, group, lease } from '../harness/channels.ts'
import { send } from '../harness/doors.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Scene = Awaited<ReturnType<typeof leaseTwo>>

const forged =
  (signingOf: (world: World, scene: Scene) => Signing): Attempt =>
  async (world) => {
    const scene = await leaseTwo(world)
    const heard = await acknowledge(world, scene, signingOf(world, scene))
    await expectQueueRefused(world, heard, 'SIGNATURE_REJECTED')
    // A message that was not acknowledged is handed out again.
    const again = await world.clock.later(31_000, () => lease(world, scene.channel, scene.listener))
    expect(again.map(({ offset }) => offset)).toContain(scene.frame.offset)
  }

attack(
  verifies(
    ['queue:acknowledgement-countersigned', 'queue:fenced-acknowledgement', 'queue:at-least-once'],
    'an acknowledgement that its consumer did not make changes nothing',
  ),
  {
    gateway: 'tested for responses by forged-countersignature',
    mesh: 'tested for responses by forged-countersignature',
    queue: {
      'an honest one settles': async (world) => {
        const scene = await leaseTwo(world)
        const heard = await acknowledge(world, scene)
        expect(settledIn(heard)).toEqual({ settled: [true] })
      },
      'signed by another member': forged(({ caller }) => ({ by: caller })),
      'signed by another member, under its key id': forged(({ caller }) => ({
        by: caller,
        keyId: caller.signing.keyId,
      })),
      'over another message': forged((_, { other }) => ({ sealed: other.sealed })),
      'over another verdict': forged(() => ({ verdict: 'nack' })),
      'for another group': forged(() => ({ group: 'others' })),
      'without a countersignature': async (world) => {
        const scene = await leaseTwo(world)
        const body = JSON.stringify({
          ...{ group, signingKeyId: scene.listener.signing.keyId },
          items: [[scene.frame.offset, scene.frame.leaseToken, 'ack', 0, '']],
        })
        const draft = draftTo(scene.channel, 'settlements', { body })
        const as = scene.listener.credential()
        const heard = await send(world.control, { ...draft, as })
        await expectQueueRefused(world, heard, 'MESSAGE_MALFORMED')
      },
    },
  },
)
