import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import {
  expectQueueRefused,
  lease,
  openHall,
  openSealer,
  orderOf,
  publish,
  publishedIn,
} from '../harness/channels.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(
    ['queue:idempotent', 'authenticate:replay@queue'],
    'a sealed message that came before is not stored again',
  ),
  {
    gateway: 'tested for requests by replayed-nonce',
    mesh: 'tested for requests by replayed-nonce',
    queue: {
      'the same bytes': async (world) => {
        const { name } = await openHall(world)
        const sealer = await openSealer(world, name, world.caller)
        const { bytes } = sealer.seal(orderOf())
        const [first] = publishedIn(await publish(world, name, [bytes])).results
        const [again] = publishedIn(await publish(world, name, [bytes])).results
        expect([first?.state, again?.state]).toEqual(['stored', 'duplicate'])
        expect(again?.offset).toBe(first?.offset)
        expect(await lease(world, name, world.caller)).toHaveLength(1)
      },
      'twice in one request': async (world) => {
        const { name } = await openHall(world)
        const sealer = await openSealer(world, name, world.caller)
        const { bytes } = sealer.seal(orderOf())
        await publish(world, name, [bytes, bytes])
        expect(await lease(world, name, world.caller)).toHaveLength(1)
      },
      'the same key with another content': async (world) => {
        const { name } = await openHall(world)
        const sealer = await openSealer(world, name, world.caller)
        const key = { idempotencyKey: 'order-1' }
        await publish(world, name, [sealer.seal(orderOf(key)).bytes])
        const other = orderOf({ ...key, body: Buffer.from('another content') })
        const heard = await publish(world, name, [sealer.seal(other).bytes])
        await expectQueueRefused(world, heard, 'IDEMPOTENCY_CONFLICT')
        expect(await lease(world, name, world.caller)).toHaveLength(1)
      },
    },
  },
)
