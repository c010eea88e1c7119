import { attack } from '../harness/attack.ts'
import type { Draft } from '../harness/doors.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(['authenticate:signature'], 'a signature that is not the caller’s own is refused'),
  {
    ...eachRefusedOnBoth('SIGNATURE_REJECTED', {
      'by another agent': async (world, door) =>
        signed(door, await world.agent('thief', ['caller'])),
      'by another agent, in the name of the caller': async (world, door) =>
        signed(
          door,
          await world.agent('thief', ['caller']),
          {},
          { keyId: world.caller.signing.keyId },
        ),
      'by the caller, brought by another': async (world, door): Promise<Draft> => ({
        ...(await signed(door, world.caller)),
        as: (await world.agent('thief', ['caller'])).credential(),
      }),
      'by an unknown key': async (world, door) =>
        signed(door, world.caller, {}, { keyId: 'unknown' }),
      'by the fabric’s own key id': async (world, door) =>
        signed(door, world.caller, {}, { keyId: world.caller.trust.fabricKeyId }),
    }),
    queue: 'tested for sealed messages by forged-sender',
  },
)
