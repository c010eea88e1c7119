import { expect } from 'vitest'
import { attack, inOwnWorld } from '../harness/attack.ts'
import { type Draft, field, refusalOf, send } from '../harness/doors.ts'
import { flood } from '../harness/http2-flood.ts'
import { flagBits, frameOf, frameTypes, literal } from '../harness/raw-http2.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const allowed = 20
const attempts = 60

async function sizeOf(world: World): Promise<number> {
  const { ledger } = (await world.admin('status')) as { ledger: { size: number } }
  return ledger.size
}

/** Faults of an unauthenticated client. Only so many of its attempts can reach the disk. */
const floods: Readonly<Record<string, Draft>> = {
  'without a credential': { as: null },
  'with a key that was never made': { as: null, headers: [['X-Api-Key', 'csk_guess']] },
  'at an unknown path': { as: null, path: '/nowhere', to: '' },
  'by an unsupported method': { as: null, method: 'PURGE' },
  'in a coding that the fabric does not inspect': {
    as: null,
    headers: [['Content-Encoding', 'gzip']],
  },
  'in bytes that are not HTTP': { as: null, edit: () => ['NOT HTTP'] },
  'in a head without end': { as: null, headers: [['X-A', 'a'.repeat(40_000)]] },
  'below the mesh': { as: null, path: '/v1/mesh/nothing', to: 'control' },
  'at channels': { as: null, path: '/v1/channels/none/messages', to: 'control' },
}

/**
 * Over HTTP/2 one connection carries any number of requests; the one that is refused for good ends
 * it.
 */
async function endsConnection(world: World): Promise<void> {
  const { port, authority } = await world.gateway.place('echo', '/')
  const fields = { ':method': 'GET', ':scheme': 'https', ':authority': authority }
  const all = Object.entries({ ...fields, ':path': '/nowhere' })
  const head = Buffer.concat(all.map(([name, value]) => literal(name, value)))
  const { endHeaders, endStream } = flagBits
  const frames = (turn: number): Buffer =>
    frameOf(frameTypes.headers, endHeaders | endStream, 2 * turn + 1, head)
  const flooder = { port, credential: null, reads: true, bytesMax: 256 * 1024, openMax: 50 }
  expect(await flood(flooder, { frames }), 'over HTTP/2').toBe(0)
}

attack(
  verifies(
    ['authorize:rate@gateway', 'record:refusals-too@gateway'],
    'a flood of refused unauthenticated clients neither fills the ledger nor locks agents out',
  ),
  {
    gateway: () =>
      inOwnWorld({ limits: { refusalsPerMinute: allowed }, receivers: ['echo'] }, async (world) => {
        for (const [way, draft] of Object.entries(floods)) {
          const before = await sizeOf(world)
          const door = draft.to === 'control' ? world.control : world.gateway
          for (let done = 0; done < attempts; done++) await send(door, draft)
          const last = await send(door, draft)
          expect(refusalOf(last), way).toBe('RATE_LIMITED')
          expect(field(last, 'retry-after'), way).toMatch(/^\d+$/)
          // The counter itself is asynchronous, so a few more than allowed may slip in.
          expect((await sizeOf(world)) - before, way).toBeLessThan(allowed + 15)
          // The agent next door shares the flooder's address, not its fate.
          expect((await send(world.gateway)).status, way).toBe(200)
          world.clock.advance(61_000)
        }
        await endsConnection(world)
      }),
    mesh: 'a connector speaks with nobody who shows no certificate',
    queue: 'members come in by the gateway',
  },
)
