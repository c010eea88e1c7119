import { attack } from '../harness/attack.ts'
import { type DraftOf, eachRefusedOnBoth } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import { verifies } from '../requirements.ts'

const edited =
  (edit: (name: string, value: string) => string): DraftOf =>
  async (world, door) => {
    const draft = await signed(door, world.caller)
    const headers = (draft.headers ?? []).map(([name, value]): [string, string] => [
      name,
      name.startsWith('signature') ? edit(name, value) : value,
    ])
    return { ...draft, headers }
  }

const both = (value: string): string => `${value}, ${value.replace('caller=', 'second=')}`
const input = (from: string | RegExp, to: string) =>
  edited((name, value) => (name === 'signature-input' ? value.replace(from, to) : value))

attack(
  verifies(
    ['authenticate:signature', 'inspect:malformed@gateway', 'inspect:malformed@mesh'],
    'a signature that can be read in two ways is refused',
  ),
  {
    ...eachRefusedOnBoth('SIGNATURE_REJECTED', {
      'two that could be meant': edited((_, value) => both(value)),
      'one label in one field, another in the other': edited((name, value) =>
        name === 'signature' ? value.replace('caller=', 'other=') : value,
      ),
      'another algorithm': input('alg="ed25519"', 'alg="rsa-v1_5-sha256"'),
      'a component twice': input('"@method"', '"@method" "@method"'),
      'an unknown component': input('"@method"', '"@method" "@future"'),
      'an unknown parameter': input(';created', ';sudo=1;created'),
      'no time': input(/;created=\d+/, ''),
      'not a list': edited(() => 'caller=1'),
      'no bytes': edited((name, value) => (name === 'signature' ? 'caller=::' : value)),
      nothing: edited(() => ''),
    }),
    queue: 'sealed messages have one form',
  },
)
