import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { refusedOnQueue } from '../harness/channels.ts'
import { field, send } from '../harness/doors.ts'
import { expectRefused, untilRefused } from '../harness/refusals.ts'
import { tokenFor } from '../harness/tokens.ts'
import { verifies } from '../requirements.ts'

const suspended =
  (status: 'quarantine' | 'revoke', transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const name = `${status}d-on-${transport}`
    const agent = await world.agent(name, ['caller'])
    const code = status === 'quarantine' ? 'AGENT_QUARANTINED' : 'AGENT_REVOKED'
    const draft = { as: agent.credential() }
    const door = world[transport]
    expect((await send(door, draft)).status).toBe(200)
    await world.admin(`agent.${status}`, { name, reason: 'told to' })
    // The connector learns of it a moment later; from then on it is as strict as the gateway.
    await untilRefused(() => send(door, draft))
    await expectRefused(world, transport, {
      code,
      attempt: async () => {
        const heard = await send(door, draft)
        expect(field(heard, 'connection')).toBe(transport === 'mesh' ? 'close' : 'keep-alive')
        return heard
      },
    })
  }

const onChannel = (status: 'quarantine' | 'revoke'): Attempt =>
  refusedOnQueue(status === 'quarantine' ? 'AGENT_QUARANTINED' : 'AGENT_REVOKED', async (world) => {
    const agent = await world.agent(`${status}d-on-queue`, ['caller'])
    await world.admin(`agent.${status}`, { name: agent.name, reason: 'told to' })
    return { as: agent.credential() }
  })

const byOtherProof: Attempt = async (world) => {
  const agent = await world.agent('quarantined-with-proofs', ['caller'])
  const made = await world.admin('key.create', { agent: agent.name })
  const proofs = [
    ['Authorization', `Bearer ${await tokenFor(agent)}`],
    ['X-Api-Key', (made as { key: string }).key],
  ] as const
  await world.admin('agent.quarantine', { name: agent.name, reason: 'told to' })
  for (const proof of proofs) {
    const draft = { as: null, headers: [proof] }
    await expectRefused(world, 'gateway', {
      code: 'AGENT_QUARANTINED',
      attempt: () => send(world.gateway, draft),
    })
  }
}

attack(
  verifies(
    ['authenticate:quarantine'],
    'an agent that is not active is refused, with credentials that are otherwise good',
  ),
  {
    gateway: {
      quarantined: suspended('quarantine', 'gateway'),
      revoked: suspended('revoke', 'gateway'),
      'quarantined, with a token and a key': byOtherProof,
    },
    mesh: {
      quarantined: suspended('quarantine', 'mesh'),
      revoked: suspended('revoke', 'mesh'),
    },
    queue: {
      quarantined: onChannel('quarantine'),
      revoked: onChannel('revoke'),
    },
  },
)
