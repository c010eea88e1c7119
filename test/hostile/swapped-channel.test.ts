import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import {
  expectQueueRefused,
  lease,
  openHall,
  openSealer,
  orderOf,
  publish,
} from '../harness/channels.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(
    ['queue:sender-proved', 'authenticate:signature@queue'],
    'a message that was sealed for another channel is refused',
  ),
  {
    gateway: 'tested for requests by swapped-path',
    mesh: 'tested for requests by swapped-path',
    queue: async (world) => {
      const [meant, other] = [await openHall(world), await openHall(world)]
      const sealer = await openSealer(world, meant.name, world.caller)
      const { bytes } = sealer.seal(orderOf())
      await expectQueueRefused(
        world,
        await publish(world, other.name, [bytes]),
        'SIGNATURE_REJECTED',
      )
      expect(await lease(world, other.name, world.caller)).toEqual([])
      expect((await publish(world, meant.name, [bytes])).status).toBe(200)
    },
  },
)
