import { expect } from 'vitest'
import { attack, inOwnWorld } from '../harness/attack.ts'
import { draftTo, expectQueueRefused, leaseBody, openHall } from '../harness/channels.ts'
import { field, refusalOf, send } from '../harness/doors.ts'
import { expectRefused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(
    ['authorize:rate'],
    'only a caller over its allowance is refused, with the time to come back',
  ),
  {
    gateway: {
      'at receivers that it makes up': () =>
        inOwnWorld({ limits: { requestsPerMinute: 5 }, receivers: ['echo'] }, async (world) => {
          for (let asked = 0; asked < 5; asked++) {
            const heard = await send(world.gateway, { to: `made-up-${asked}` })
            expect(refusalOf(heard)).toBe('NOT_PERMITTED')
          }
          const last = await send(world.gateway, { to: 'made-up-last' })
          expect(refusalOf(last)).toBe('RATE_LIMITED')
          expect((await send(world.gateway)).status).toBe(200)
        }),
      'at one receiver': () =>
        inOwnWorld(
          { limits: { requestsPerMinute: 5 }, receivers: ['echo', 'other'] },
          async (world) => {
            for (let asked = 0; asked < 5; asked++)
              expect((await send(world.gateway)).status).toBe(200)
            await expectRefused(world, 'gateway', {
              code: 'RATE_LIMITED',
              attempt: async () => {
                const heard = await send(world.gateway)
                expect(Number(field(heard, 'retry-after'))).toBeGreaterThan(0)
                expect(field(heard, 'ratelimit')).toMatch(/^"agent-route";r=0;t=\d+$/)
                expect(field(heard, 'ratelimit-policy')).toBe('"agent-route";q=5;w=60')
                return heard
              },
            })
            const neighbour = await world.agent('neighbour', ['caller'])
            expect((await send(world.gateway, { as: neighbour.credential() })).status).toBe(200)
            expect((await send(world.gateway, { to: 'other' })).status).toBe(200)
          },
        ),
    },
    mesh: () =>
      inOwnWorld({ limits: { requestsPerMinute: 40 }, receivers: ['echo'] }, async (world) => {
        for (let asked = 0; asked < 40; asked++) expect((await send(world.mesh)).status).toBe(200)
        await expectRefused(world, 'mesh', {
          code: 'RATE_LIMITED',
          attempt: async () => {
            const heard = await send(world.mesh)
            expect(Number(field(heard, 'retry-after'))).toBeGreaterThan(0)
            expect(field(heard, 'ratelimit-policy')).toBe('"agent-route";q=40;w=60')
            return heard
          },
        })
      }),
    queue: () =>
      inOwnWorld({ limits: { requestsPerMinute: 4 }, receivers: [] }, async (world) => {
        const { name } = await openHall(world)
        const ask = () => send(world.control, draftTo(name, 'leases', { body: leaseBody() }))
        for (let asked = 0; asked < 4; asked++) expect((await ask()).status).toBe(200)
        const heard = await ask()
        expect(Number(field(heard, 'retry-after'))).toBeGreaterThan(0)
        await expectQueueRefused(world, heard, 'RATE_LIMITED')
      }),
  },
)
