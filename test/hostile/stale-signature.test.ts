import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(
    ['authenticate:signature', 'authenticate:replay'],
    'a signature of another time is refused',
  ),
  {
    ...eachRefusedOnBoth('SIGNATURE_REJECTED', {
      'of two minutes ago': (world, door) => signed(door, world.caller, {}, { createdIn: -120 }),
      'of two minutes ahead': (world, door) => signed(door, world.caller, {}, { createdIn: 120 }),
      'of the beginning of time': (world, door) =>
        signed(door, world.caller, {}, { createdIn: -Math.floor(Date.now() / 1000) }),
    }),
    queue: 'tested for sealed messages by expired-message',
  },
)
