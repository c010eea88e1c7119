import { attack } from '../harness/attack.ts'
import { refusedOnQueue } from '../harness/channels.ts'
import { refused } from '../harness/refusals.ts'
import { tokenFor } from '../harness/tokens.ts'
import { verifies } from '../requirements.ts'

const bearer = (token: string) => [['Authorization', `Bearer ${token}`]] as const

attack(
  verifies(
    ['authenticate:key-bound', 'authenticate:conflicting'],
    'a token is refused from any caller except the one to which it was bound',
  ),
  {
    gateway: {
      'without the certificate': refused('gateway', 'CREDENTIAL_REJECTED', async (world) => ({
        as: null,
        headers: bearer(await tokenFor(world.caller, { isBound: true })),
      })),
      'with the certificate of the thief': refused(
        'gateway',
        'CREDENTIAL_REJECTED',
        async (world) => ({
          as: (await world.agent('thief', ['caller'])).credential(),
          headers: bearer(await tokenFor(world.caller, { isBound: true })),
        }),
      ),
      'unbound, with the certificate of the thief': refused(
        'gateway',
        'CREDENTIALS_CONFLICTING',
        async (world) => ({
          as: (await world.agent('thief', ['caller'])).credential(),
          headers: bearer(await tokenFor(world.caller)),
        }),
      ),
    },
    mesh: 'the certificate is the key',
    queue: {
      'without the certificate': refusedOnQueue('CREDENTIAL_REJECTED', async (world) => ({
        as: null,
        headers: bearer(await tokenFor(world.caller, { isBound: true })),
      })),
      'with the certificate of the thief': refusedOnQueue('CREDENTIAL_REJECTED', async (world) => ({
        as: (await world.agent('thief', ['caller'])).credential(),
        headers: bearer(await tokenFor(world.caller, { isBound: true })),
      })),
    },
  },
)
