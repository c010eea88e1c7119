import { expect } from 'vitest'
import { decide, decideAs, gatedCaller, payment, pendingId, show } from '../harness/approvals.ts'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import { type Door, refusalOf, send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

const attemptsOn = (transport: Door['transport']): Record<string, Attempt> => ({
  'by several repeats at once': async (world) => {
    const door = world[transport]
    const as = (await gatedCaller(world)).credential()
    const draft = (attempt: number) => ({ to: 'echo', body: payment(7, attempt), as })
    const id = await pendingId(world, door, draft(1))
    await decide(world, 'approve', id)
    const before = world.echo.reached.length
    const heard = await Promise.all(Array.from({ length: 6 }, (_, at) => send(door, draft(at + 2))))
    expect(heard.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(world.echo.reached.length).toBe(before + 1)
    for (const each of heard) {
      if (each.status !== 200) expect(refusalOf(each)).toBe('APPROVAL_PENDING')
    }
    const winner = heard.find(({ status }) => status === 200)
    if (winner === undefined) throw new Error('none was delivered')
    expect(await show(world, id)).toMatchObject({
      state: 'consumed',
      consumedBy: exchangeOf(winner),
    })
  },
  'by a repeat of what was carried out': async (world) => {
    const door = world[transport]
    const draft = { to: 'echo', body: payment(8), as: (await gatedCaller(world)).credential() }
    const id = await pendingId(world, door, draft)
    await decide(world, 'approve', id)
    expect((await send(door, draft)).status).toBe(200)
    expect(await pendingId(world, door, draft)).not.toBe(id)
  },
  'after it was denied': async (world) => {
    const door = world[transport]
    const draft = { to: 'echo', body: payment(9), as: (await gatedCaller(world)).credential() }
    const id = await pendingId(world, door, draft)
    await decide(world, 'deny', id)
    const before = world.echo.reached.length
    expect(refusalOf(await send(door, draft))).toBe('APPROVAL_DENIED')
    expect(world.echo.reached.length).toBe(before)
  },
  'of an approver in quarantine since': async (world) => {
    const door = world[transport]
    const draft = { to: 'echo', body: payment(10), as: (await gatedCaller(world)).credential() }
    const id = await pendingId(world, door, draft)
    const name = newName('approver')
    const approver = await world.agent(name, ['approver'])
    expect((await decideAs(world, approver, { id })).status).toBe(200)
    await world.admin('agent.quarantine', { name, reason: 'a leaked key' })
    expect(await pendingId(world, door, draft)).not.toBe(id)
  },
})

attack(verifies(['authorize:approval'], 'an approval is not used twice, nor after it was denied'), {
  gateway: attemptsOn('gateway'),
  mesh: attemptsOn('mesh'),
  queue: 'what needs an approval is refused on a channel',
})
