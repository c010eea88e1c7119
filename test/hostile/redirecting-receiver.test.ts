import { send } from '../harness/doors.ts'
import { lie, type Telling } from '../harness/lie.ts'
import { expectAnswerRefused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const redirect =
  (transport: 'gateway' | 'mesh', status: number): Telling =>
  async (world) =>
    expectAnswerRefused(world, transport, {
      code: 'RESPONSE_REJECTED',
      tell: () =>
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

lie(verifies(['inspect:response'], 'a receiver that sends callers elsewhere is not followed'), {
  gateway: onEach('gateway'),
  mesh: onEach('mesh'),
  queue: 'an acknowledgement carries no content',
})
