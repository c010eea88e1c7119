import { attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { expectRefused } from '../harness/refusals.ts'
import { tokenFor } from '../harness/tokens.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(['authenticate:token', 'authenticate:expiry'], 'a token that has ended is refused'),
  {
    gateway: {
      'never seen before': async (world) => {
        const draft = { as: null, headers: [bearer(await tokenFor(world.caller))] }
        await expectRefused(world, 'gateway', {
          code: 'CREDENTIAL_EXPIRED',
          attempt: () => world.clock.later(301_000, () => send(world.gateway, draft)),
        })
      },
      'that was good a moment ago': async (world) => {
        const draft = { as: null, headers: [bearer(await tokenFor(world.caller))] }
        await send(world.gateway, draft)
        await expectRefused(world, 'gateway', {
          code: 'CREDENTIAL_EXPIRED',
          attempt: () => world.clock.later(301_000, () => send(world.gateway, draft)),
        })
      },
    },
    mesh: 'the mesh knows callers by certificate only',
    queue: 'members come in by the gateway',
  },
)

function bearer(token: string): readonly [string, string] {
  return ['Authorization', `Bearer ${token}`]
}
