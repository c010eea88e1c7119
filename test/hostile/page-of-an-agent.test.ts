import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { field, send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

const page = '<script>fetch("/v1/admin", { method: "POST" })</script>'

attack(
  verifies(
    ['admin:same-pipeline', 'inspect:response@gateway'],
    'a page that an agent answers runs nothing where the console lives',
  ),
  {
    gateway: Object.fromEntries(
      ['text/html', 'text/plain'].map((type) => [
        `as ${type}`,
        async (world) => {
          const heard = await world.echo.during(
            (_, response) => response.writeHead(200, { 'content-type': type }).end(page),
            () => send(world.gateway, { method: 'GET', body: null }),
          )
          expect(field(heard, 'content-security-policy')).toMatch(/^sandbox; default-src 'none'/)
          expect(field(heard, 'x-content-type-options')).toBe('nosniff')
        },
      ]),
    ),
    mesh: 'no page is served at the address of a connector',
    queue: 'a channel hands over sealed messages',
  },
)
