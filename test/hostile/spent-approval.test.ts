import { expect } from 'vitest'
import { decide, decideAs, gatedCaller, payment, pendingId, show } from '../harness/approvals.ts'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import { type Breaking, openBreaker } from '../harness/breaker.ts'
import { type Door, type Draft, refusalOf, send } from '../harness/doors.ts'
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

const busy: Breaking = (socket, whole) =>
  whole.then(() => socket.write('HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n'))
/** Without a byte of a response. */
const hangsUp: Breaking = (socket, whole) => whole.then(() => void socket.end())

/** The route repeats what is idempotent, and a key makes a POST so. */
const failingReceiver: Attempt = async (world) => {
  const breaker = await openBreaker()
  try {
    const to = newName('flaky')
    await world.agent(to, ['open'])
    const settings = { retries: { resend: true, idempotencyKey: true, attempts: 3 } }
    await world.admin('route.put', { name: to, upstream: breaker.url, protocol: 'http', settings })
    const as = (await gatedCaller(world)).credential()
    const drafts: readonly Draft[] = [
      { method: 'PUT', body: payment(11) },
      { body: payment(12), headers: [['Idempotency-Key', 'k-1']] },
      { method: 'GET', body: null },
    ]
    for (const [at, draft] of drafts.entries()) {
      for (const failure of [busy, hangsUp]) {
        const ask = { ...draft, to, as, path: `/${at}/${failure.name}` }
        await decide(world, 'approve', await pendingId(world, world.gateway, ask))
        const [, copies] = await breaker.during([failure, failure], () => send(world.gateway, ask))
        expect(copies).toBe(1)
      }
    }
  } finally {
    await breaker.close()
  }
}

attack(verifies(['authorize:approval'], 'an approval is not used twice, nor after it was denied'), {
  gateway: {
    ...attemptsOn('gateway'),
    'by the repeats of a route to a receiver that fails': failingReceiver,
  },
  mesh: attemptsOn('mesh'),
  queue: 'what needs an approval is refused on a channel',
})
