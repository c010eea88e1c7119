import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { refusedOnQueue } from '../harness/channels.ts'
import { field, send, sendAll } from '../harness/doors.ts'
import { refused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(
    ['authenticate:someone', 'record:refusals-too'],
    'a caller that shows nothing is refused',
  ),
  {
    gateway: {
      'calling an agent': refused('gateway', 'CREDENTIAL_MISSING', () => ({ as: null })),
      'and the refusal names the place to get one': async (world) => {
        const heard = await send(world.gateway, { as: null })
        expect(field(heard, 'www-authenticate')).toContain(world.fabric.origin)
      },
      'with an empty key': refused('gateway', 'CREDENTIAL_REJECTED', () => ({
        as: null,
        headers: [['X-Api-Key', '']],
      })),
    },
    mesh: async (world) => {
      const before = world.echo.reached.length
      // The handshake itself asks for a certificate, so a request never arrives to be answered.
      expect(await sendAll(world.mesh, { as: null })).toEqual([])
      expect(world.echo.reached.slice(before)).toEqual([])
    },
    queue: refusedOnQueue('CREDENTIAL_MISSING', () => ({ as: null })),
  },
)
