import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { leaseBody } from '../harness/channels.ts'
import { type Draft, send } from '../harness/doors.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

async function riskOf(world: World, name: string): Promise<number> {
  const { risk } = (await world.admin('agent.show', { name })) as {
    risk: { score: number } | number
  }
  return typeof risk === 'number' ? risk : risk.score
}

/** An agent without any role, in its first minute. */
const burst =
  (name: string, draftOf: (i: number) => Draft, at: 'gateway' | 'control'): Attempt =>
  async (world) => {
    const agent = await world.agent(name)
    for (let i = 0; i < 80; i++) {
      await send(world[at], { ...draftOf(i), as: agent.credential() })
    }
    expect(await riskOf(world, name)).toBeGreaterThanOrEqual(50)
    expect(await riskOf(world, 'operator')).toBe(0)
  }

const command = (operation: string) => JSON.stringify({ operation, args: {} })

attack(
  verifies(
    ['detection:risk@gateway', 'detection:risk@queue'],
    'a burst of denials is a risk of the one who was denied',
  ),
  {
    gateway: {
      'at one receiver': burst('bursting-one', () => ({ to: 'echo' }), 'gateway'),
      'at many receivers': burst('bursting-many', (i) => ({ to: `none-${i}` }), 'gateway'),
      'at administration': burst(
        'bursting-admin',
        () => ({ path: '/v1/admin', body: command('agent.list') }),
        'control',
      ),
      'in the name of another, whose risk stays': async (world) => {
        const victim = await world.agent('named-victim', ['caller'])
        for (let i = 0; i < 60; i++) {
          const headers = [
            ['Countersign-From', victim.spiffeId],
            ['X-Api-Key', `csk_${victim.name}_${i}`],
          ] as const
          await send(world.gateway, { as: null, headers })
        }
        expect(await riskOf(world, 'named-victim')).toBe(0)
      },
      'by a receiver that is away, and not by its caller': async (world) => {
        const caller = await world.agent('patient', ['caller'])
        await world.agent('away', ['open'])
        await world.admin('route.put', { name: 'away', upstream: 'http://127.0.0.1:9' })
        for (let i = 0; i < 40; i++)
          await send(world.gateway, { to: 'away', as: caller.credential() })
        expect(await riskOf(world, 'patient')).toBe(0)
      },
      'and an operator at work is none': async (world) => {
        for (let i = 0; i < 500; i++) await world.admin('agent.show', { name: 'caller' })
        expect(await riskOf(world, 'operator')).toBe(0)
      },
    },
    mesh: 'tested by compose-detection.test, which observes what connectors record',
    queue: {
      'at many channels': burst(
        'bursting-queue',
        (i) => ({ path: `/v1/channels/none-${i}/leases`, body: leaseBody() }),
        'control',
      ),
      'in bytes that are not a lease': burst(
        'bursting-bytes',
        () => ({ path: '/v1/channels/none/leases', body: '{}' }),
        'control',
      ),
    },
  },
)
