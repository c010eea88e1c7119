import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { refusalOf, send } from '../harness/doors.ts'
import { openMaliciousServer } from '../harness/malicious-server.ts'
import { exchangeOf, refusedByFabric } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const registration = (endpoint: object) => async (world: World) => ({
  ...{ path: '/v1/mesh/endpoints', as: (await world.agent('thief', ['caller'])).credential() },
  body: JSON.stringify({ instance: 'thief', endpoints: [endpoint], ttlSeconds: 60 }),
})
const url = 'https://127.0.0.1:1'

attack(
  verifies(
    ['authenticate:certificate@gateway', 'authenticate:certificate@mesh', 'inspect:malformed@mesh'],
    'an address at which another agent answers is not believed',
  ),
  {
    gateway: async (world) => {
      // The agent's own statement leads to a place where another party holds the certificate.
      const lost = await world.agent('lost', ['open'])
      const thief = await world.agent('thief', ['caller'])
      let reached = 0
      const answer = () => {
        reached += 1
        return { status: 200, headers: [], body: '{}' }
      }
      const maliciousServer = await openMaliciousServer(lost, answer, thief.credential())
      try {
        const heard = await send(world.gateway, { to: 'lost' })
        expect(refusalOf(heard)).toBe('RECEIVER_UNREACHABLE')
        expect(reached).toBe(0)
        const entries = await world.explain(exchangeOf(heard))
        expect(entries.at(-1)?.facts).toMatchObject({ code: 'RECEIVER_UNREACHABLE' })
      } finally {
        await maliciousServer.close()
      }
    },
    mesh: {
      'under another name': refusedByFabric(
        'MESSAGE_MALFORMED',
        registration({ url, protocol: 'auto', name: 'echo' }),
      ),
      'in plain HTTP': refusedByFabric(
        'MESSAGE_MALFORMED',
        registration({ url: 'http://127.0.0.1:1', protocol: 'auto' }),
      ),
      'at no address': refusedByFabric(
        'MESSAGE_MALFORMED',
        registration({ url: 'nowhere', protocol: 'auto' }),
      ),
      'in an unsupported protocol': refusedByFabric(
        'MESSAGE_MALFORMED',
        registration({ url, protocol: 'smtp' }),
      ),
      'for ever': refusedByFabric('MESSAGE_MALFORMED', async (world) => ({
        ...(await registration({})(world)),
        body: JSON.stringify({ endpoints: [], ttlSeconds: 1e9 }),
      })),
      'by a key, which may find agents and not move them': refusedByFabric(
        'NOT_PERMITTED',
        async (world) => {
          const agent = (await world.agent('thief', ['caller'])).name
          const made = await world.admin('key.create', { agent, scopes: ['echo'] })
          return {
            ...(await registration({ url, protocol: 'auto' })(world)),
            ...{ as: null, headers: [['X-Api-Key', (made as { key: string }).key]] as const },
          }
        },
      ),
      'by nobody': refusedByFabric('CREDENTIAL_MISSING', async (world) => ({
        ...(await registration({ url, protocol: 'auto' })(world)),
        as: null,
      })),
    },
    queue: 'members fetch their messages',
  },
)
