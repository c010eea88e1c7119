import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Draft, refusalOf, send } from '../harness/doors.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const named =
  (host: string): NonNullable<Draft['edit']> =>
  (lines) =>
    lines.map((line) => (line.startsWith('Host: ') ? `Host: ${host}` : line))

/** Names that a page can make a browser send once its own name resolves to this machine. */
const hosts = {
  'of a page': 'rebound.example',
  'of a page, with our port': 'rebound.example:8443',
  'that begins like ours': 'localhost.rebound.example',
  'that ends like ours': 'rebound-localhost',
  'behind a user': 'localhost@rebound.example',
  'with ours as the user’s password': 'rebound.example:8443@localhost',
  'that is nothing': '',
  'of another address': '192.0.2.1',
  'of another address, IPv6': '[2001:db8::1]:8443',
} as const

const drafts: Record<string, Draft> = Object.fromEntries(
  Object.entries(hosts).map(([way, host]) => [way, { edit: named(host) }]),
)

const publicPaths = [
  '/',
  '/verify',
  '/console',
  '/v1/trust',
  '/log/checkpoint',
  '/oauth/.well-known/openid-configuration',
  '/.well-known/oauth-protected-resource',
  '/.well-known/oauth-authorization-server',
]

const onPages: Attempt = async (world) => {
  for (const path of publicPaths) {
    const draft: Draft = { method: 'GET', body: null, path, as: null }
    const heard = await send(world.control, { ...draft, edit: named('rebound.example') })
    expect(refusalOf(heard), path).toBe('MESSAGE_MALFORMED')
    expect((await send(world.control, draft)).status, path).toBeLessThan(405)
  }
}

const ours: Attempt = async (world) => {
  for (const host of ['localhost', 'LOCALHOST:1', '127.0.0.1', '[::1]:9', '127.0.0.1:8443']) {
    expect((await send(world.gateway, { edit: named(host) })).status, host).toBe(200)
  }
}

const told = eachRefusedOnBoth('MESSAGE_MALFORMED', drafts)

attack(verifies(['authenticate:own-host'], 'a request for a host that is not ours is refused'), {
  gateway: { ...told.gateway, 'on public pages': onPages, 'and ours are answered': ours },
  mesh: told.mesh,
  queue: 'members come in by the gateway',
})
