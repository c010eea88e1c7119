import { expect } from 'vitest'
import { decide, gatedCaller, payment, pendingId, show } from '../harness/approvals.ts'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Door, type Draft, refusalOf, send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

const honest = (): Draft => ({ to: 'echo', body: payment(5) })

/** The action that was approved, and another one that is sent in its place. */
const swaps: Readonly<Record<string, Draft>> = {
  'with another amount': { body: payment(50) },
  'with one more parameter': { body: payment(5).replace('"amount":5', '"amount":5,"to":"eve"') },
  'with another tool': { body: payment(5).replace('"pay"', '"refund"') },
  'at another path': { path: '/other' },
  'with a query': { path: '/?amount=50' },
  'at another receiver': { to: 'other' },
  'with a number that a double rounds to the same': {
    body: payment(9_007_199_254_740_992).replace('992}', '993}'),
  },
  'with a precondition': { headers: [['If-Match', '"other"']] },
  'with an instruction in place of the token of progress': {
    body: payment(5).replace('"progressToken":1', '"progressToken":{"amount":50}'),
  },
}

const swapped = (transport: Door['transport'], swap: Draft): Attempt => {
  return async (world) => {
    const door = world[transport]
    const caller = await gatedCaller(world)
    const as = caller.credential()
    const rounds = swap.body?.toString().includes('9007199254740993') === true
    const approved = {
      ...honest(),
      ...(rounds ? { body: payment(9_007_199_254_740_992) } : {}),
      as,
    }
    const id = await pendingId(world, door, approved)
    await decide(world, 'approve', id)
    const before = world.echo.reached.length
    const heard = await send(door, { ...approved, ...swap })
    expect(refusalOf(heard)).toBe('APPROVAL_PENDING')
    expect(world.echo.reached.length).toBe(before)
    expect((await show(world, id)).state).toBe('approved')
    // The approval still is of what was approved.
    expect((await send(door, approved)).status).toBe(200)
    expect((await show(world, id)).state).toBe('consumed')
  }
}

const byAnother = (transport: Door['transport']): Attempt => {
  return async (world) => {
    const [caller, thief] = [await gatedCaller(world), await gatedCaller(world)]
    const door = world[transport]
    const id = await pendingId(world, door, { ...honest(), as: caller.credential() })
    await decide(world, 'approve', id)
    const stolen = await send(door, { ...honest(), as: thief.credential() })
    expect(refusalOf(stolen)).toBe('APPROVAL_PENDING')
    expect((await show(world, id)).state).toBe('approved')
  }
}

const attemptsOn = (transport: Door['transport']): Record<string, Attempt> => ({
  ...Object.fromEntries(
    Object.entries(swaps).map(([how, swap]) => [how, swapped(transport, swap)]),
  ),
  'by another caller': byAnother(transport),
})

/** The connector makes the digest of the same parts as the gateway; these show that it does. */
const onMesh = Object.fromEntries(
  Object.entries(attemptsOn('mesh')).filter(([how]) => /amount|another path|caller/.test(how)),
)

attack(
  verifies(
    ['authorize:approval'],
    'another action than the approved one is not delivered, and does not use the approval up',
  ),
  {
    gateway: attemptsOn('gateway'),
    mesh: onMesh,
    queue: 'what needs an approval is refused on a channel',
  },
)
