import { attack } from '../harness/attack.ts'
import { talk } from '../harness/raw-http.ts'
import { expectRefused, refused, refusedByFabric } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const code = 'CREDENTIAL_REJECTED'
const foreign = [['Origin', 'https://evil.example']] as const
const order = '{"operation":"agent.revoke","args":{"name":"other","reason":"a page said so"}}'

/**
 * Any client that reaches a connector's loopback acts as its agent, so a web page must not reach
 * it.
 */
async function onLoopback(world: World, fields: readonly string[], path?: string): Promise<void> {
  const place = await world.connectors.loopback('caller', 'echo', '/')
  await expectRefused(world, 'mesh', {
    code,
    attempt: async () => {
      const lines = [`GET ${path ?? place.path} HTTP/1.1`, ...fields]
      const host = fields.some((each) => each.startsWith('Host'))
        ? []
        : [`Host: ${place.authority}`]
      const bytes = `${[...lines, ...host].join('\r\n')}\r\n\r\n`
      const [heard] = await talk({ port: place.port, credential: null }, [bytes])
      if (heard === undefined) throw new Error('the connector hung up')
      return heard
    },
  })
}

attack(
  verifies(
    ['authenticate:someone@gateway', 'authenticate:someone@mesh', 'admin:same-pipeline'],
    'a page from elsewhere does not speak with its reader’s credential',
  ),
  {
    gateway: {
      'calling an agent': refused('gateway', code, () => ({ headers: foreign })),
      'calling without a preflight': refused('gateway', code, () => ({
        headers: foreign,
        body: 'text',
        contentType: 'text/plain',
      })),
      'by an image': refused('gateway', code, () => ({
        method: 'GET',
        body: null,
        headers: [['Sec-Fetch-Site', 'cross-site']],
      })),
      'from a page without an origin': refused('gateway', code, () => ({
        headers: [['Origin', 'null']],
      })),
      'to administration': refusedByFabric(code, (world) => ({
        path: '/v1/admin',
        as: world.operator.credential(),
        headers: foreign,
        body: order,
        contentType: 'text/plain',
      })),
    },
    mesh: {
      'by its origin': (world) => onLoopback(world, ['Origin: https://evil.example']),
      'by an image': (world) => onLoopback(world, ['Sec-Fetch-Site: cross-site']),
      'by a name that was bound to loopback': (world) => onLoopback(world, ['Host: evil.example']),
      'by a name that ends like ours': (world) =>
        onLoopback(world, ['Host: localhost.evil.example:80']),
    },
    queue: 'members come in by the gateway',
  },
)
