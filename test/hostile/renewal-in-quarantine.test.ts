import { attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { expectHeard, expectRefusal, expectRefused } from '../harness/refusals.ts'
import { tokenFor } from '../harness/tokens.ts'
import { verifies } from '../requirements.ts'

const code = 'AGENT_QUARANTINED'

attack(
  verifies(
    ['authenticate:quarantine@gateway', 'authenticate:rotation'],
    'a certificate that is worth nothing is not renewed',
  ),
  {
    gateway: {
      'of a quarantined agent': async (world) => {
        const agent = await world.agent('renewing-in-quarantine')
        await agent.renew()
        await world.admin('agent.quarantine', { name: agent.name, reason: 'told to' })
        await expectRefusal(world, code, () => agent.renew())
      },
      'of a revoked agent': async (world) => {
        const agent = await world.agent('renewing-when-revoked')
        await world.admin('agent.revoke', { name: agent.name, reason: 'told to' })
        await expectRefusal(world, 'AGENT_REVOKED', () => agent.renew())
      },
      'that has ended': async (world) => {
        const agent = await world.agent('renewing-too-late')
        await world.clock.later(8 * 86_400_000, async () => {
          const heard = await send(world.control, { path: '/v1/renew', as: agent.credential() })
          expectHeard(heard, 'gateway', 'CREDENTIAL_EXPIRED')
        })
      },
      'without a certificate': async (world) => {
        const headers = [['Authorization', `Bearer ${await tokenFor(world.caller)}`]] as const
        const attempt = () => send(world.control, { path: '/v1/renew', as: null, headers })
        await expectRefused(world, 'gateway', { code: 'CREDENTIAL_MISSING', attempt })
      },
    },
    mesh: 'agents renew at the fabric',
    queue: 'agents renew at the fabric',
  },
)
