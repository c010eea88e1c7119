import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { answering } from '../harness/echo.ts'
import { exchangeOf, expectAnswerRefused, refused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const body = '{"note":"4111 1111 1111 1111"}'

const asked = (transport: 'gateway' | 'mesh') =>
  refused(transport, 'CONTENT_BLOCKED', () => ({ to: 'blocked', body }))

const explained =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const exchange = exchangeOf(await send(world[transport], { to: 'blocked', body }))
    const { policy } = (await world.admin('policy.explain', { exchange })) as {
      policy: { text: string } | null
    }
    expect(policy?.text).toMatch(/Policy "[^"]+" \([^)]+\) permits it:[^]*and demands @block\(/)
  }

const answered =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) =>
    expectAnswerRefused(world, transport, {
      code: 'RESPONSE_REJECTED',
      attempt: () =>
        world.echo.during(answering({ note: '4111 1111 1111 1111' }), () =>
          send(world[transport], { to: 'blocked' }),
        ),
    })

attack(
  verifies(
    ['inspect:block', 'inspect:response'],
    'data that policy blocks does not pass, either way',
  ),
  {
    gateway: {
      'in a request': asked('gateway'),
      'in a response': answered('gateway'),
      'and the policy that blocked is named': explained('gateway'),
    },
    mesh: {
      'in a request': asked('mesh'),
      'in a response': answered('mesh'),
      'and the policy that blocked is named': explained('mesh'),
    },
    queue: 'the fabric cannot read sealed content',
  },
)
