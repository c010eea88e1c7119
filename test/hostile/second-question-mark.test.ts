import { type Attempt, attack } from '../harness/attack.ts'
import { draftTo, expectQueueRefused, openHall } from '../harness/channels.ts'
import { send } from '../harness/doors.ts'
import { expectRefused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const get = { method: 'GET', body: null } as const

/**
 * Readers differ on each of these: one that cuts, one that takes the last, one that counts by
 * sixteen.
 */
const epochs: Readonly<Record<string, string>> = {
  'behind the number': 'epoch=1?x',
  'that is escaped': 'epoch=1%3Fx',
  'in front of another epoch': 'epoch=1?epoch=2',
  'left out, the epoch being named twice': 'epoch=1&epoch=2',
  'left out, the epoch being none': 'epoch=0x1',
  'left out, the epoch being a fraction': 'epoch=1.5',
  'left out, the epoch being empty': 'epoch=',
}

const asked =
  (query: string): Attempt =>
  async (world) => {
    const { name } = await openHall(world)
    for (const path of ['keys?', '?']) {
      const draft = draftTo(name, `${path}${query}`, get)
      await expectQueueRefused(world, await send(world.control, draft), 'MESSAGE_MALFORMED')
    }
  }

attack(verifies(['inspect:malformed'], 'a query is read whole, and as one number or none'), {
  gateway: {
    'behind the sequence of a state': (world) =>
      expectRefused(world, 'gateway', {
        code: 'MESSAGE_MALFORMED',
        attempt: () => send(world.control, { ...get, path: '/v1/mesh/state?after=-1?x' }),
      }),
  },
  mesh: 'a connector hands the query to its agent as it came',
  queue: Object.fromEntries(Object.entries(epochs).map(([way, query]) => [way, asked(query)])),
})
