import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import { verifies } from '../requirements.ts'

const without = (component: string) => ({
  cover: (honest: readonly string[]) => honest.filter((each) => each !== component),
})

attack(
  verifies(
    ['authenticate:signature', 'countersign:request'],
    'a signature that leaves out what matters is refused',
  ),
  {
    ...eachRefusedOnBoth('SIGNATURE_REJECTED', {
      'the digest of the body': (world, door) =>
        signed(door, world.caller, {}, without('"content-digest"')),
      'the method': (world, door) => signed(door, world.caller, {}, without('"@method"')),
      'the path': (world, door) => signed(door, world.caller, {}, without('"@path"')),
      'the query': (world, door) =>
        signed(door, world.caller, { path: '/a?b=c' }, without('"@query"')),
      'the receiver': (world, door) => signed(door, world.caller, {}, without('"countersign-to"')),
      everything: (world, door) => signed(door, world.caller, {}, { cover: () => [] }),
      'enough chance': (world, door) => signed(door, world.caller, {}, { nonce: 'short' }),
      'a bound on chance': (world, door) =>
        signed(door, world.caller, {}, { nonce: 'n'.repeat(200) }),
    }),
    queue: 'a sealed message is signed as a whole',
  },
)
