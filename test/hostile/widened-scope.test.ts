import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { refusedOnQueue } from '../harness/channels.ts'
import { type HeaderList, send } from '../harness/doors.ts'
import { refused } from '../harness/refusals.ts'
import { tokenFor } from '../harness/tokens.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const byToken = async (world: World): Promise<HeaderList> => [
  ['Authorization', `Bearer ${await tokenFor(world.caller, { scope: 'other' })}`],
]

const byKey = async (world: World): Promise<HeaderList> => {
  const made = await world.admin('key.create', { agent: 'caller', scopes: ['other'] })
  return [['X-Api-Key', (made as { key: string }).key]]
}

/** One credential names `echo` and `other`, the one next to it a single one of them. */
const byBoth =
  (wide: 'token' | 'key') =>
  async (world: World): Promise<HeaderList> => {
    const [scope, scopes] =
      wide === 'token' ? ['echo other', ['other']] : ['other', ['echo', 'other']]
    const { key } = (await world.admin('key.create', { agent: 'caller', scopes })) as {
      key: string
    }
    const token = await tokenFor(world.caller, { scope: String(scope) })
    return [
      ['Authorization', `Bearer ${token}`],
      ['X-Api-Key', key],
    ]
  }

const widened = (headersOf: (world: World) => Promise<HeaderList>) => ({
  'reaches what it names': async (world: World) => {
    const heard = await send(world.gateway, {
      to: 'other',
      as: null,
      headers: await headersOf(world),
    })
    expect(heard.status).toBe(200)
  },
  'reaches nothing else': refused('gateway', 'NOT_PERMITTED', async (world) => ({
    as: null,
    headers: await headersOf(world),
  })),
  'is not widened by a certificate next to it': refused(
    'gateway',
    'NOT_PERMITTED',
    async (world) => ({
      headers: await headersOf(world),
    }),
  ),
})

const named = (what: string, each: ReturnType<typeof widened>) =>
  Object.fromEntries(Object.entries(each).map(([way, attempt]) => [`${what} ${way}`, attempt]))

attack(verifies(['authorize:scoped-token'], 'a credential opens no more than its scope'), {
  gateway: {
    ...named('a token', widened(byToken)),
    ...named('a key', widened(byKey)),
    ...named('a wide token beside a key', widened(byBoth('token'))),
    ...named('a wide key beside a token', widened(byBoth('key'))),
  },
  mesh: 'certificates carry no scope',
  queue: {
    'of a token': refusedOnQueue('NOT_PERMITTED', async (world) => ({
      ...{ as: null, headers: await byToken(world) },
    })),
    'of a token and a key that name different targets': refusedOnQueue(
      'NOT_PERMITTED',
      async (world) => ({
        ...{ as: null, headers: await byBoth('token')(world) },
      }),
    ),
    'of a key': refusedOnQueue('NOT_PERMITTED', async (world) => ({
      ...{ as: null, headers: await byKey(world) },
    })),
  },
})
