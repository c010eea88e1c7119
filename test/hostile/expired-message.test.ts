import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import {
  expectQueueRefused,
  lease,
  openHall,
  openSealer,
  orderOf,
  publish,
} from '../harness/channels.ts'
import { verifies } from '../requirements.ts'

/** Sealed by a clock that is `ms` off. */
const sealedAt =
  (ms: number, lifetimeMs = 600_000): Attempt =>
  async (world) => {
    const { name } = await openHall(world)
    const clock = { now: () => world.clock.now() + ms, monotonic: world.clock.monotonic }
    const sealer = await openSealer(world, name, world.caller, { clock })
    const heard = await publish(world, name, [sealer.seal(orderOf({ lifetimeMs })).bytes])
    await expectQueueRefused(world, heard, 'MESSAGE_MALFORMED')
    expect(await lease(world, name, world.caller)).toEqual([])
  }

attack(
  verifies(
    ['authenticate:expiry@queue', 'inspect:bounds@queue'],
    'a message of another time is refused',
  ),
  {
    gateway: 'tested for requests by stale-signature',
    mesh: 'tested for requests by stale-signature',
    queue: {
      'that has ended': sealedAt(-3_600_000),
      'of tomorrow': sealedAt(86_400_000),
      'that ends while it waits': async (world) => {
        const { name } = await openHall(world)
        const sealer = await openSealer(world, name, world.caller)
        await publish(world, name, [sealer.seal(orderOf({ lifetimeMs: 60_000 })).bytes])
        const leased = await world.clock.later(61_000, () => lease(world, name, world.caller))
        expect(leased).toEqual([])
      },
    },
  },
)
