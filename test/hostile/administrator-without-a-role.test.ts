import { expect } from 'vitest'
import { OPERATIONS } from '../../packages/fabric/src/admin/operations.ts'
import { lie, type Telling } from '../harness/lie.ts'
import { refusedByFabric } from '../harness/refusals.ts'
import { tokenFor } from '../harness/tokens.ts'
import { verifies } from '../requirements.ts'

const order = (operation: string, args: object = {}) => ({
  path: '/v1/admin',
  body: JSON.stringify({ operation, args }),
})

const everyOperation: Record<string, Telling> = Object.fromEntries(
  [...Object.keys(OPERATIONS), 'decisions.watch'].map((operation) => [
    operation,
    refusedByFabric('NOT_PERMITTED', () => order(operation)),
  ]),
)

lie(
  verifies(
    ['admin:same-pipeline', 'authorize:default-deny@gateway'],
    'an administrative order from somebody without the role is refused',
  ),
  {
    gateway: {
      ...everyOperation,
      'making itself an operator': refusedByFabric('NOT_PERMITTED', () =>
        order('agent.enroll', { name: 'caller', kind: 'user', roles: ['operator'] }),
      ),
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
