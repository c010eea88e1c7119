import { attack } from '../harness/attack.ts'
import { refused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(
    ['authorize:default-deny@gateway', 'authenticate:quarantine@gateway'],
    'a receiver that no agent may call gets nothing',
  ),
  {
    gateway: {
      'unknown to the fabric': refused('gateway', 'NOT_PERMITTED', () => ({ to: 'nobody' })),
      'by a name that is none': refused('gateway', 'NOT_PERMITTED', () => ({ to: 'No_Body!' })),
      quarantined: refused('gateway', 'NOT_PERMITTED', async (world) => {
        const { name } = await world.agent('quarantined-receiver', ['open'])
        await world.admin('route.put', { name, upstream: world.echo.url })
        await world.admin('agent.quarantine', { name, reason: 'told to' })
        return { to: name }
      }),
    },
    mesh: 'a connector stands before one receiver only',
    queue: 'tested for channels by outsider',
  },
)
