import { attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { expectRefused, refused } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

interface MadeKey {
  readonly key: string
  readonly prefix: string
}

async function newKey(world: World): Promise<MadeKey> {
  return (await world.admin('key.create', { agent: 'caller', ttlSeconds: 60 })) as MadeKey
}

const shown = (key: string) => ({ as: null, headers: [['X-Api-Key', key]] as const })

attack(
  verifies(
    ['authenticate:api-key'],
    'a key that was never made, was changed, has ended or was revoked is refused',
  ),
  {
    gateway: {
      'never made': refused('gateway', 'CREDENTIAL_REJECTED', () =>
        shown(`csk_${'a'.repeat(8)}_${'b'.repeat(43)}`),
      ),
      'of another form': refused('gateway', 'CREDENTIAL_REJECTED', () => shown('let me in')),
      'with one changed character': refused('gateway', 'CREDENTIAL_REJECTED', async (world) => {
        const { key } = await newKey(world)
        return shown(key.slice(0, -1) + (key.endsWith('A') ? 'B' : 'A'))
      }),
      'cut short': refused('gateway', 'CREDENTIAL_REJECTED', async (world) =>
        shown((await newKey(world)).key.slice(0, -1)),
      ),
      'only its public part': refused('gateway', 'CREDENTIAL_REJECTED', async (world) =>
        shown(`csk_${(await newKey(world)).prefix}`),
      ),
      ended: async (world) => {
        const { key } = await newKey(world)
        await expectRefused(world, 'gateway', {
          code: 'CREDENTIAL_EXPIRED',
          attempt: () => world.clock.later(61_000, () => send(world.gateway, shown(key))),
        })
      },
      revoked: refused('gateway', 'CREDENTIAL_REJECTED', async (world) => {
        const { key, prefix } = await newKey(world)
        await send(world.gateway, shown(key))
        await world.admin('key.revoke', { prefix })
        return shown(key)
      }),
      'as a token': refused('gateway', 'CREDENTIAL_REJECTED', () => ({
        as: null,
        headers: [['Authorization', `Bearer csk_${'a'.repeat(8)}_${'b'.repeat(43)}`]],
      })),
    },
    mesh: 'certificates only',
    queue: 'members hold certificates or tokens',
  },
)
