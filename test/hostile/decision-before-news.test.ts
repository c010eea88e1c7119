import { expect, vi } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { field, refusalOf, send } from '../harness/doors.ts'
import { withLateNews } from '../harness/late-news.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const body = '{"decided":"before the news"}'

const putFor = async (world: World, name: string, rule: string, condition: string) => {
  const text = `@id("${name}") ${rule}(principal == Agent::"${name}", action == Action::"call", resource)${condition};`
  expect(await world.admin('policy.put', { name: `${name}.cedar`, text })).toMatchObject({
    taken: true,
  })
}

/**
 * A call of a newcomer, which the gateway permits, waits at the connector for news of its caller.
 * Policy changes meanwhile; the news that come first are of the time before.
 */
const waiting =
  (label: string, rule: string, condition = ''): Attempt =>
  (world) =>
    withLateNews(world, `late-${label}`, async ({ direct, cut, tell }) => {
      const to = `late-${label}`
      await vi.waitFor(async () => {
        expect((await send(world.gateway, { to })).status).toBe(200)
      }, deadline)
      expect((await send(direct)).status).toBe(200)
      const before = world.echo.reached.length
      cut()
      const name = `fresh-${label}`
      const as = (await world.agent(name, ['caller'])).credential()
      const asking = send(world.gateway, { to, as, body })
      // The gateway has decided, and put it on record.
      await vi.waitFor(async () => {
        const recent = await world.recorded()
        const own = recent.filter(({ facts }) => facts['caller'] === idOf(world, name))
        expect(own.map(({ kind }) => kind)).toContain('intent')
      }, deadline)
      await putFor(world, name, rule, condition)
      tell()
      const heard = await asking
      // Of the gateway, or of the connector, in which case it is the receiver's word.
      expect(['WITHDRAWN', 'UNDECIDED']).toContain(refusalOf(heard))
      expect(field(heard, 'countersign-may-have-acted')).toBe('true')
      const bodies = world.echo.reached.slice(before).map((each) => each.body.toString())
      expect(bodies).not.toContain(body)
    })

const idOf = ({ caller }: World, name: string): string =>
  `spiffe://${caller.trustDomain}/agent/${name}`

attack(
  verifies(
    ['authorize:every-delivery'],
    'a call that waits at a connector for news of its caller is decided by what holds when they have come',
  ),
  {
    gateway: {
      'after a policy that forbids it': waiting('denied', 'forbid'),
      'after one that obliges to mask': waiting('masked', '@mask("email") permit'),
      'after one that obliges to block': waiting('blocked', '@block("email") permit'),
      'after one that forbids calls that are proved as it is': waiting(
        ...(['unsigned', 'forbid', ' unless { context.signed }'] as const),
      ),
    },
    mesh: 'who comes past the gateway is decided on at the connector alone',
    queue: 'the fabric decides on its channels itself',
  },
)
