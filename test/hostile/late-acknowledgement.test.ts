import { expect } from 'vitest'
import { acknowledge, leaseTwo, settledIn } from '../harness/acknowledgements.ts'
import { attack } from '../harness/attack.ts'
import { expectQueueRefused, lease } from '../harness/channels.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(
    ['queue:fenced-acknowledgement', 'queue:at-least-once'],
    'an acknowledgement under a lease that is over changes nothing',
  ),
  {
    gateway: 'leases exist on channels only',
    mesh: 'leases exist on channels only',
    queue: {
      'after the lease ran out': async (world) => {
        const scene = await leaseTwo(world)
        const heard = await world.clock.later(31_000, async () => {
          await lease(world, scene.channel, world.caller)
          return acknowledge(world, scene)
        })
        expect(settledIn(heard)).toEqual({ settled: [false] })
      },
      'of a message that is not there': async (world) => {
        const scene = await leaseTwo(world)
        const frame = { ...scene.frame, offset: scene.other.offset + 1000 }
        await expectQueueRefused(world, await acknowledge(world, { ...scene, frame }), 'LEASE_LOST')
      },
      'a second time': async (world) => {
        const two = await leaseTwo(world)
        // The first one is still leased, so that the sweeper keeps both.
        const scene = { ...two, frame: two.other }
        expect(settledIn(await acknowledge(world, scene))).toEqual({ settled: [true] })
        expect(settledIn(await acknowledge(world, scene))).toEqual({ settled: [false] })
      },
    },
  },
)
