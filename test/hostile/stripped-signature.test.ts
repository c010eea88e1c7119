import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { field, send } from '../harness/doors.ts'
import { refused, refusedOnBoth } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import { verifies } from '../requirements.ts'

const bare = refusedOnBoth('SIGNATURE_MISSING', () => ({ to: 'strict' }))
const cut = (transport: 'gateway' | 'mesh', field: string) =>
  refused(transport, 'SIGNATURE_REJECTED', async (world, door) => {
    const draft = await signed(door, world.caller, { to: 'strict' })
    return { ...draft, headers: (draft.headers ?? []).filter(([name]) => name !== field) }
  })

attack(
  verifies(
    ['countersign:request', 'authenticate:signature'],
    'a request without the signature that policy asks for is refused',
  ),
  {
    gateway: {
      'without any of it': bare.gateway,
      'and the refusal names the components to sign': async (world) => {
        const heard = await send(world.gateway, { to: 'strict' })
        expect(field(heard, 'accept-signature')).toContain('"content-digest"')
      },
      'without the signature': cut('gateway', 'signature'),
      'without what it covers': cut('gateway', 'signature-input'),
      'without the digest that it covers': cut('gateway', 'content-digest'),
    },
    mesh: {
      'without any of it': bare.mesh,
      'without the signature': cut('mesh', 'signature'),
      'without what it covers': cut('mesh', 'signature-input'),
      'without the digest that it covers': cut('mesh', 'content-digest'),
    },
    queue: 'an unsigned sealed message has no form',
  },
)
