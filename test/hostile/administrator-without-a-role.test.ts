import { type EntryView, type ExplainedExchange, verifyReceipt } from '@countersign/protocol'
import { expect } from 'vitest'
import { OPERATIONS } from '../../packages/fabric/src/admin/operations.ts'
import { entryRow } from '../../packages/fabric/src/cli/entry-view.ts'
import { explain } from '../../packages/fabric/src/cli/explain.ts'
import { createTerminal } from '../../packages/fabric/src/cli/output/terminal.ts'
import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { exchangeOf, refusedByFabric } from '../harness/refusals.ts'
import { tokenFor } from '../harness/tokens.ts'
import { verifies } from '../requirements.ts'

const screen = { isTTY: true, columns: 80, write: () => undefined }
const clock = { now: () => 0, monotonic: () => 0 }
const terminal = createTerminal({ stdout: screen, stderr: screen, colours: false, clock })

const order = (operation: string, args: object = {}) => ({
  path: '/v1/admin',
  body: JSON.stringify({ operation, args }),
})

const everyOperation: Record<string, Attempt> = Object.fromEntries(
  [...Object.keys(OPERATIONS), 'decisions.watch'].map((operation) => [
    operation,
    refusedByFabric('NOT_PERMITTED', () => order(operation)),
  ]),
)

attack(
  verifies(
    ['admin:same-pipeline', 'admin:names', 'authorize:default-deny@gateway'],
    'an administrative command from a caller without the role is refused',
  ),
  {
    gateway: {
      ...everyOperation,
      'making itself an operator': refusedByFabric('NOT_PERMITTED', () =>
        order('agent.enroll', { name: 'caller', kind: 'user', roles: ['operator'] }),
      ),
      'and the record states its object and its reason': async (world) => {
        const about = { name: 'echo', reason: 'a grudge' }
        const heard = await send(world.control, order('agent.quarantine', about))
        const [entry] = await world.explain(exchangeOf(heard))
        expect(entry).toMatchObject({
          kind: 'refusal',
          facts: { operation: 'agent.quarantine', object: 'echo', reason: 'a grudge' },
        })
      },
      'and so does the receipt, of what was carried out as well': async (world) => {
        await world.agent('suspect')
        const about = { object: 'suspect', reason: 'a leaked key' }
        const args = { name: 'suspect', reason: about.reason }
        const refused = await send(world.control, order('agent.quarantine', args))
        const as = world.operator.credential()
        const done = await send(world.control, { ...order('agent.quarantine', args), as })
        expect(done.status).toBe(200)
        const ends: readonly [string, typeof as | null][] = [
          [exchangeOf(refused), null],
          [exchangeOf(done), as],
        ]
        for (const [exchange, reader] of ends) {
          const path = `/v1/receipts/${exchange}`
          const own = reader === null ? {} : { as: reader }
          const { body } = await send(world.control, { method: 'GET', path, body: null, ...own })
          const receipt = await verifyReceipt(new Uint8Array(body), world.caller.trust)
          expect(receipt).toMatchObject({ operation: 'agent.quarantine', ...about })
          const view = (await world.admin('policy.explain', { exchange })) as ExplainedExchange
          expect(view.entries[0]).toMatchObject(about)
          expect(explain(view, terminal)).toMatch(/^object +suspect$/m)
        }
        const recent = (await world.recorded()) as readonly EntryView[]
        const rows = recent.filter(({ exchange }) => exchange === exchangeOf(done)).map(entryRow)
        expect(rows.flat()).toContainEqual({
          phrase: 'agent.quarantine suspect because "a leaked key"',
        })
      },
      'with arguments of any kind, which are still recorded': async (world) => {
        for (const args of [null, [], 7, { name: 7 }, { reason: '\ud800'.repeat(4_000) }]) {
          const body = JSON.stringify({ operation: 'agent.quarantine', args })
          const heard = await send(world.control, { path: '/v1/admin', body })
          expect((await world.explain(exchangeOf(heard)))[0]?.kind).toBe('refusal')
        }
      },
      'an operation that does not exist': refusedByFabric('OPERATION_UNKNOWN', () =>
        order('agent.own'),
      ),
      'an operation of every object': refusedByFabric('OPERATION_UNKNOWN', () =>
        order('constructor'),
      ),
      'with a member too many': refusedByFabric('MESSAGE_MALFORMED', () => ({
        path: '/v1/admin',
        body: '{"operation":"status","args":{},"as":"operator"}',
      })),
      'by a token of an operator, narrowed to an agent': refusedByFabric(
        'NOT_PERMITTED',
        async (world) => ({
          ...order('agent.quarantine', { name: 'other', reason: 'x' }),
          as: null,
          headers: [
            ['Authorization', `Bearer ${await tokenFor(world.operator, { scope: 'echo' })}`],
          ],
        }),
      ),
      'by nobody': refusedByFabric('CREDENTIAL_MISSING', () => ({ ...order('status'), as: null })),
      'and none of it was carried out': async (world) => {
        const policies = (await world.admin('policy.show')) as { sources: { name: string }[] }
        expect(policies.sources.map(({ name }) => name)).toContain('world.cedar')
        expect(await world.admin('agent.show', { name: 'caller' })).toMatchObject({ kind: 'agent' })
      },
    },
    mesh: 'the fabric itself is reached by the gateway only',
    queue: 'the fabric itself is reached by the gateway only',
  },
)
