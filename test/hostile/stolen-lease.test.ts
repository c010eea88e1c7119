import { expect } from 'vitest'
import { acknowledge, leaseTwo, settledIn } from '../harness/acknowledgements.ts'
import { attack } from '../harness/attack.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(
    ['queue:fenced-acknowledgement'],
    'an acknowledgement under the lease of another changes nothing',
  ),
  {
    gateway: 'leases exist on channels only',
    mesh: 'leases exist on channels only',
    queue: {
      'under a token of another lease': async (world) => {
        const scene = await leaseTwo(world)
        const heard = await acknowledge(world, scene, { leaseToken: scene.other.leaseToken })
        // The whole lease has one token; another lease's is a token given to another receiver.
        if (scene.other.leaseToken === scene.frame.leaseToken) return
        expect(settledIn(heard)).toEqual({ settled: [false] })
      },
      'under a made-up token': async (world) => {
        const scene = await leaseTwo(world)
        const heard = await acknowledge(world, scene, { leaseToken: 'made-up' })
        expect(settledIn(heard)).toEqual({ settled: [false] })
      },
      'by a member to whom it was not handed out': async (world) => {
        const scene = await leaseTwo(world)
        // It learned the token, and is a member like the one that holds the lease.
        const heard = await acknowledge(world, { ...scene, listener: world.caller })
        expect(settledIn(heard)).toEqual({ settled: [false] })
      },
    },
  },
)
