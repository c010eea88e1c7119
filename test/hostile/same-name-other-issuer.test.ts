import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { refusalOf, send } from '../harness/doors.ts'
import { refusedByFabric } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const registration = JSON.stringify({
  ...{ instance: 'one', ttlSeconds: 60 },
  endpoints: [{ url: 'https://127.0.0.1:1', protocol: 'auto' }],
})

attack(
  verifies(
    ['authenticate:principal@gateway', 'authenticate:principal@mesh'],
    'a principal is not taken for another of the same name',
  ),
  {
    gateway: {
      'the roles of a user do not describe a receiver of its name': async (world) => {
        await world.user('namesake', ['open'])
        await world.admin('route.put', { name: 'namesake', upstream: world.echo.url })
        const count = world.echo.reached.length
        expect(refusalOf(await send(world.gateway, { to: 'namesake' }))).toBe('NOT_PERMITTED')
        expect(world.echo.reached).toHaveLength(count)
      },
    },
    mesh: {
      'a user does not receive under its name': refusedByFabric('NOT_PERMITTED', async (world) => ({
        ...{ path: '/v1/mesh/endpoints', body: registration },
        as: (await world.user('receiving-user', ['caller'])).credential(),
      })),
    },
    queue: 'a channel has members of the directory, whose names are unique',
  },
)
