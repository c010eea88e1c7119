import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(
    ['authenticate:signature', 'countersign:request'],
    'a signature over another target is refused',
  ),
  {
    ...eachRefusedOnBoth('SIGNATURE_REJECTED', {
      'of another path': async (world, door) => ({
        ...(await signed(door, world.caller, { path: '/read' })),
        path: '/delete',
      }),
      'of another query': async (world, door) => ({
        ...(await signed(door, world.caller, { path: '/a?id=1' })),
        path: '/a?id=2',
      }),
      'of no query': async (world, door) => ({
        ...(await signed(door, world.caller, { path: '/a' })),
        path: '/a?id=2',
      }),
      'of another method': async (world, door) => ({
        ...(await signed(door, world.caller, { method: 'PUT' })),
        method: 'DELETE',
      }),
      'of another receiver': async (world, door) => ({
        ...(await signed(door, world.caller, { to: 'other' })),
        to: 'echo',
      }),
    }),
    queue: 'a sealed message names its channel in the signed header',
  },
)
