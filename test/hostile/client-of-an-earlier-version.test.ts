import { REFUSALS } from '@countersign/protocol'
import { expect } from 'vitest'
import { acknowledge, leaseTwo, settledIn, settlementOf } from '../harness/acknowledgements.ts'
import { type Attempt, attack } from '../harness/attack.ts'
import { draftTo, expectQueueRefused } from '../harness/channels.ts'
import { refusalOf, send } from '../harness/doors.ts'
import { indexesOf, meshEntry, newExchange, record } from '../harness/entries.ts'
import { refusedByFabric } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const formerId = () => newExchange().replace('exc_a_', 'exc_') as ReturnType<typeof newExchange>

/** As an honest settlement, with the verdict as earlier versions wrote it. */
const settledWith =
  (verdict: string, reason: string): Attempt =>
  async (world) => {
    const scene = await leaseTwo(world)
    const honest = JSON.parse(Buffer.from(settlementOf([scene])).toString()) as {
      readonly items: readonly unknown[][]
    }
    const items = honest.items.map((item) => [...item.slice(0, 2), verdict, 0, reason])
    const body = JSON.stringify({ ...honest, items })
    const draft = draftTo(scene.channel, 'settlements', { body })
    const heard = await send(world.control, { ...draft, as: scene.listener.credential() })
    await expectQueueRefused(world, heard, 'VERSION_UNSUPPORTED')
    expect(settledIn(await acknowledge(world, scene))).toEqual({ settled: [true] })
  }

attack(
  verifies(
    ['operate:one-format'],
    'a client of an earlier version is refused as that, and nothing of its request is used',
  ),
  {
    gateway: {
      'by a sentence that states the remedy': async (world) => {
        const path = `/v1/receipts/${formerId()}`
        const heard = await send(world.control, { method: 'GET', path, body: null })
        expect(heard.status).toBe(400)
        expect(JSON.parse(heard.body.toString())).toMatchObject({
          code: 'VERSION_UNSUPPORTED',
          title: REFUSALS.VERSION_UNSUPPORTED.says,
        })
        expect(REFUSALS.VERSION_UNSUPPORTED.says).toContain('update the client')
      },
      'where it fetches a receipt': refusedByFabric('VERSION_UNSUPPORTED', () => ({
        ...{ method: 'GET', body: null },
        path: `/v1/receipts/${formerId()}`,
      })),
      'where it only resembles one': refusedByFabric('MESSAGE_MALFORMED', () => ({
        ...{ method: 'GET', body: null },
        path: '/v1/receipts/dec_1',
      })),
      'where it asks why an exchange ended': async (world) => {
        const asked = world.admin('policy.explain', { exchange: formerId() })
        await expect(asked).rejects.toThrow('VERSION_UNSUPPORTED')
      },
    },
    mesh: {
      'where a connector records': async (world) => {
        const bad = meshEntry({ exchange: formerId() })
        const heard = await record(world, [bad])
        expect(refusalOf(heard)).toBe('VERSION_UNSUPPORTED')
        expect(await indexesOf(world, [bad, meshEntry()])).toEqual([null, expect.any(Number)])
      },
    },
    queue: {
      'where it acknowledges': settledWith('done', ''),
      'where it asks for redelivery': settledWith('retry', ''),
      'where it rejects': settledWith('dead', 'no such invoice'),
    },
  },
)
