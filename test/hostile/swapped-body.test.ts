import { formatContentDigest } from '@countersign/protocol'
import { attack } from '../harness/attack.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { sha256, signed } from '../harness/signed.ts'
import { verifies } from '../requirements.ts'

const honest = '{"pay":10}'
const swapped = '{"pay":99}'

attack(
  verifies(
    ['authenticate:signature', 'countersign:request'],
    'a body that was swapped after it was signed is refused',
  ),
  {
    ...eachRefusedOnBoth('SIGNATURE_REJECTED', {
      'under the digest of the old one': async (world, door) => ({
        ...(await signed(door, world.caller, { body: honest })),
        body: swapped,
      }),
      'with its own digest': async (world, door) => {
        const draft = await signed(door, world.caller, { body: honest })
        const digest = formatContentDigest(sha256(Buffer.from(swapped)))
        const headers = (draft.headers ?? []).map(([name, value]): [string, string] =>
          name === 'content-digest' ? [name, digest] : [name, value],
        )
        return { ...draft, headers, body: swapped }
      },
      'although no body was signed': async (world, door) => ({
        ...(await signed(door, world.caller, { body: null })),
        body: swapped,
      }),
      'by nothing': async (world, door) => ({
        ...(await signed(door, world.caller, { body: honest })),
        body: null,
      }),
      'under another type': async (world, door) => ({
        ...(await signed(door, world.caller, { body: honest })),
        contentType: 'text/plain',
      }),
      'under a digest of an unsupported kind': async (world, door) => {
        const draft = await signed(door, world.caller, { body: honest })
        const headers = (draft.headers ?? []).map(([name, value]): [string, string] =>
          name === 'content-digest' ? [name, value.replace('sha-256', 'md5')] : [name, value],
        )
        return { ...draft, headers, body: swapped }
      },
    }),
    queue: 'tested for sealed messages by swapped-ciphertext',
  },
)
