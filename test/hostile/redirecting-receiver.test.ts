import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { expectAnswerRefused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const redirect =
  (transport: 'gateway' | 'mesh', status: number): Attempt =>
  async (world) =>
    expectAnswerRefused(world, transport, {
      code: 'RESPONSE_REJECTED',
      attempt: () =>
        world.echo.during(
          (_, response) =>
            response.writeHead(status, { location: 'http://169.254.169.254/latest' }).end(),
          () => send(world[transport]),
        ),
    })

const onEach = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(
    [301, 302, 303, 307, 308].map((each) => [`by ${each}`, redirect(transport, each)]),
  )

attack(verifies(['inspect:response'], 'a receiver that sends callers elsewhere is not followed'), {
  gateway: onEach('gateway'),
  mesh: onEach('mesh'),
  queue: 'an acknowledgement carries no content',
})
