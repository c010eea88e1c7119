import { expect } from 'vitest'
import { decideAs, gatedCaller, payment, pendingId, show } from '../harness/approvals.ts'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import { type Door, refusalOf, send } from '../harness/doors.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** The attacker tries to get the approval of its own action; then another principal gives it. */
const refusedTo = (
  transport: Door['transport'],
  how: (world: World) => Promise<{
    readonly caller: Awaited<ReturnType<typeof gatedCaller>>
    readonly approver: Awaited<ReturnType<typeof gatedCaller>>
  }>,
): Attempt => {
  return async (world) => {
    const { caller, approver } = await how(world)
    const draft = { to: 'echo', body: payment(5), as: caller.credential() }
    const id = await pendingId(world, world[transport], draft)
    for (const operation of ['approve', 'deny'] as const) {
      const heard = await decideAs(world, approver, { id, operation })
      expect(refusalOf(heard)).toMatch(/^(?:NOT_PERMITTED|AGENT_QUARANTINED)$/)
    }
    expect(await show(world, id)).toMatchObject({ state: 'pending', approver: null })
    expect(refusalOf(await send(world[transport], draft))).toBe('APPROVAL_PENDING')
    const other = await world.agent(newName('approver'), ['approver'])
    expect((await decideAs(world, other, { id })).status).toBe(200)
    expect((await send(world[transport], draft)).status).toBe(200)
  }
}

const attemptsOn = (transport: Door['transport']): Record<string, Attempt> => ({
  'by the caller, which may approve what others ask for': refusedTo(transport, async (world) => {
    const caller = await gatedCaller(world, ['approver'])
    return { caller, approver: caller }
  }),
  'by an agent that may not approve': refusedTo(transport, async (world) => ({
    caller: await gatedCaller(world),
    approver: await world.agent(newName('nosy')),
  })),
  'by an approver in quarantine': refusedTo(transport, async (world) => {
    const caller = await gatedCaller(world)
    const name = newName('suspect')
    const approver = await world.agent(name, ['approver'])
    await world.admin('agent.quarantine', { name, reason: 'a drill' })
    return { caller, approver }
  }),
})

attack(
  verifies(['authorize:approval'], 'an action is not approved by its own caller or an outsider'),
  {
    gateway: attemptsOn('gateway'),
    mesh: attemptsOn('mesh'),
    queue: 'what needs an approval is refused on a channel',
  },
)
