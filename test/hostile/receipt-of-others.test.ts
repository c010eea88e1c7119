import type { TlsCredential } from '@countersign/protocol/tls'
import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { refusalOf, send } from '../harness/doors.ts'
import { meshEntry, newExchange, record } from '../harness/entries.ts'
import { exchangeOf, refusedByFabric } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

async function exchange(world: World): Promise<string> {
  return exchangeOf(await send(world.gateway))
}

attack(
  verifies(
    ['record:explain', 'authorize:default-deny@gateway'],
    'a receipt of others is not handed out',
  ),
  {
    gateway: {
      'to its own caller it is': async (world) => {
        const path = `/v1/receipts/${await exchange(world)}`
        const heard = await send(world.control, { method: 'GET', path, body: null })
        expect(heard.status).toBe(200)
      },
      'to an agent named like the fabric, a name that no agent may have': async (world) => {
        const upstream = 'http://127.0.0.1:9'
        for (const name of ['fabric', 'gateway', 'unknown']) {
          for (const [operation, args] of [
            ['agent.enroll', { name }],
            ['key.create', { agent: name }],
            ['route.put', { name, upstream }],
            ['channel.create', { name, members: ['caller'] }],
            ['channel.create', { name: 'for-reserved', members: [name] }],
          ] as const) {
            await expect(world.admin(operation, args)).rejects.toThrow('MESSAGE_MALFORMED')
          }
          const order = { kind: 'agent', roles: [], segment: '', attributes: {} } as const
          const invited = world.fabric.invite({ ...order, name, ttlSeconds: 60 })
          await expect(invited).rejects.toThrow('reserved')
        }
      },
      'of a call to a reserved name, which entries call unknown': async (world) => {
        for (const to of ['fabric', 'gateway']) {
          const heard = await send(world.gateway, { to })
          const [entry] = await world.explain(exchangeOf(heard))
          expect(entry?.facts['receiver']).toBe('unknown')
        }
      },
      'to a third agent': refusedByFabric('NOT_PERMITTED', async (world) => ({
        ...{ method: 'GET', body: null, path: `/v1/receipts/${await exchange(world)}` },
        as: (await world.agent('thief', ['caller'])).credential(),
      })),
      'to an unauthenticated client': refusedByFabric('CREDENTIAL_MISSING', async (world) => ({
        ...{ method: 'GET', body: null, path: `/v1/receipts/${await exchange(world)}` },
        as: null,
      })),
      'under a made-up exchange': refusedByFabric('NOT_PERMITTED', () => ({
        ...{ method: 'GET', body: null },
        path: '/v1/receipts/exc_a_01890000000070008000000000000000',
      })),
      'and only to its two ends whether it is still open': async (world) => {
        const entry = meshEntry()
        expect((await record(world, [entry])).status).toBe(200)
        const asking = async (as: TlsCredential, exchange = entry.exchange) => {
          const path = `/v1/receipts/${exchange}`
          return refusalOf(await send(world.control, { method: 'GET', body: null, path, as }))
        }
        const [receiver, third] = [await world.agent('thief'), await world.agent('curious')]
        const known = [receiver, world.caller, world.operator].map((each) => each.credential())
        for (const as of known) expect(await asking(as)).toBe('EXCHANGE_OPEN')
        expect(await asking(third.credential())).toBe('NOT_PERMITTED')
        const unknown = newExchange()
        expect(await asking(world.operator.credential(), unknown)).toBe('EXCHANGE_UNKNOWN')
        for (const each of [receiver, world.caller, third]) {
          expect(await asking(each.credential(), unknown)).toBe('NOT_PERMITTED')
        }
      },
      'under a path': refusedByFabric('MESSAGE_MALFORMED', () => ({
        ...{ method: 'GET', body: null, path: '/v1/receipts/x/../y' },
      })),
    },
    mesh: 'receipts are fetched from the fabric',
    queue: 'receipts are fetched from the fabric',
  },
)
