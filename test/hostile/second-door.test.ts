import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Draft, send, sendAll } from '../harness/doors.ts'
import { talk } from '../harness/raw-http.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const order = '{"operation":"agent.quarantine","args":{"name":"spared","reason":"by another door"}}'

async function expectSpared(world: World): Promise<void> {
  expect(await world.admin('agent.show', { name: 'spared' })).toMatchObject({ status: 'active' })
}

/** Even with the operator's own certificate: what is not the door does not open. */
const knock =
  (path: string, draft: Draft = {}): Attempt =>
  async (world) => {
    await world.agent('spared')
    const as = world.operator.credential()
    const heard = await send(world.control, { as, body: order, ...draft, path })
    expect(heard.status).toBeGreaterThanOrEqual(400)
    await expectSpared(world)
  }

const doors = [
  '/v1/admin/',
  '/v1//admin',
  '/v1/Admin',
  '/V1/admin',
  '/v1/admin/agent.quarantine',
  '/v1/%61dmin',
  '//v1/admin',
  '/./v1/admin',
  '/agents/../v1/admin',
  '/agents/fabric/v1/admin',
  '/agents/fabric',
  '/admin',
  '/oauth/../v1/admin',
  '/log/../v1/admin',
  '/v1/trust/../admin',
]

attack(
  verifies(
    ['admin:same-pipeline', 'inspect:malformed@gateway'],
    'administration by another door than its own is refused',
  ),
  {
    gateway: {
      ...Object.fromEntries(doors.map((path) => [path, knock(path)])),
      'by GET': knock('/v1/admin', { method: 'GET', body: null }),
      'by a query': knock('/v1/admin?operation=status', { method: 'GET', body: null }),
    },
    mesh: {
      'on the loopback of a connector': async (world) => {
        await world.agent('spared')
        const { port, authority } = await world.connectors.loopback('caller', 'fabric', '/')
        for (const path of ['/v1/admin', '/fabric/v1/admin', '/fabric/']) {
          const head = `POST ${path} HTTP/1.1\r\nHost: ${authority}\r\nContent-Type: application/json`
          const bytes = `${head}\r\nContent-Length: ${order.length}\r\n\r\n${order}`
          const [heard] = await talk({ port, credential: null }, [bytes])
          expect(heard?.status).toBeGreaterThanOrEqual(400)
        }
        await expectSpared(world)
      },
      'on the receiver’s side of a connector': async (world) => {
        await world.agent('spared')
        const as = world.operator.credential()
        const [heard] = await sendAll(world.mesh, { as, path: '/v1/admin', body: order })
        expect(heard?.status).toBe(403)
        await expectSpared(world)
      },
    },
    queue: 'the fabric itself is reached by the gateway only',
  },
)
