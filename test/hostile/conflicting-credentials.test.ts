import { attack } from '../harness/attack.ts'
import { refusedOnQueue } from '../harness/channels.ts'
import { refused } from '../harness/refusals.ts'
import { tokenFor } from '../harness/tokens.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

async function keyOf(world: World, agent: string): Promise<readonly [string, string]> {
  const made = await world.admin('key.create', { agent })
  return ['X-Api-Key', (made as { key: string }).key]
}

attack(verifies(['authenticate:conflicting'], 'credentials of two callers are both refused'), {
  gateway: {
    'a certificate and a key': refused('gateway', 'CREDENTIALS_CONFLICTING', async (world) => ({
      headers: [await keyOf(world, 'other')],
    })),
    'a certificate and a token': refused('gateway', 'CREDENTIALS_CONFLICTING', async (world) => ({
      headers: [['Authorization', `Bearer ${await tokenFor(await world.agent('other'))}`]],
    })),
    'a token and a key': refused('gateway', 'CREDENTIALS_CONFLICTING', async (world) => ({
      as: null,
      headers: [
        ['Authorization', `Bearer ${await tokenFor(world.caller)}`],
        await keyOf(world, 'other'),
      ],
    })),
    'two keys': refused('gateway', 'CREDENTIALS_CONFLICTING', async (world) => {
      const [, key] = await keyOf(world, 'caller')
      const headers = [['Authorization', `Bearer ${key}`], await keyOf(world, 'other')] as const
      return { as: null, headers }
    }),
  },
  mesh: 'only one kind of credential is read',
  queue: refusedOnQueue('CREDENTIALS_CONFLICTING', async (world) => ({
    headers: [['Authorization', `Bearer ${await tokenFor(await world.agent('other'))}`]],
  })),
})
