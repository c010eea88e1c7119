import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import {
  draftTo,
  expectQueueRefused,
  lease,
  leaseBody,
  openHall,
  openSealer,
  orderOf,
  publish,
} from '../harness/channels.ts'
import { send } from '../harness/doors.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const get = { method: 'GET', body: null } as const

/** Policy would permit the outsider; the channel's own list of members does not. */
const asOutsider =
  (what: string, draft: object, name = 'outsider', roles = ['caller']): Attempt =>
  async (world) => {
    const hall = await openHall(world)
    const outsider = await world.agent(name, roles)
    const heard = await send(world.control, {
      ...draftTo(hall.name, what, draft),
      as: outsider.credential(),
    })
    await expectQueueRefused(world, heard, 'NOT_PERMITTED')
  }

async function publishAs(world: World, name: string): Promise<void> {
  const hall = await openHall(world)
  const outsider = await world.agent(name, ['caller'])
  const sealer = await openSealer(world, hall.name, world.caller, { identity: outsider })
  const heard = await publish(world, hall.name, [sealer.seal(orderOf()).bytes], outsider)
  await expectQueueRefused(world, heard, 'NOT_PERMITTED')
  expect(await lease(world, hall.name, world.caller)).toEqual([])
}

attack(
  verifies(
    ['queue:epochs', 'authorize:default-deny@queue', 'record:refusals-too@queue'],
    'an outsider has no part in a channel',
  ),
  {
    gateway: 'channels are of the queue',
    mesh: 'channels are of the queue',
    queue: {
      publishing: (world) => publishAs(world, 'outsider'),
      consuming: asOutsider('leases', { body: leaseBody() }),
      'asking who the members are': asOutsider('', get),
      'asking for their keys': asOutsider('keys?epoch=1', get),
      'putting a key of its own': asOutsider('keys', { body: 'x' }),
      'without a role that policy permits': asOutsider(
        'leases',
        { body: leaseBody() },
        'nobody',
        [],
      ),
      'in a channel that does not exist': async (world) => {
        const heard = await send(
          world.control,
          draftTo('no-such-hall', 'leases', { body: leaseBody() }),
        )
        await expectQueueRefused(world, heard, 'RECEIVER_UNKNOWN')
      },
    },
  },
)
