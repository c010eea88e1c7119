import { parsePrincipal, utf8 } from '@countersign/protocol'
import { expect } from 'vitest'
import { actionDigestText } from '../../packages/fabric/src/approvals/action-digest.ts'
import { decide, decideAs, gatedCaller, payment, pendingId, show } from '../harness/approvals.ts'
import { type Attempt, attack } from '../harness/attack.ts'
import { agentId, type Door, refusalOf, send } from '../harness/doors.ts'
import { newExchange } from '../harness/entries.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Agent = Awaited<ReturnType<typeof gatedCaller>>

function principal(name: string) {
  const parsed = parsePrincipal(agentId(name))
  if (parsed === null) throw new Error(`${name} is not a name`)
  return parsed
}

/** The form of a digest is public: each agent can compute that of any action of anyone. */
const digestOf = (caller: Agent, body: string): string =>
  actionDigestText({
    ...{ caller: principal(caller.name), user: null, receiver: principal('echo') },
    ...{ action: 'call', protocol: 'mcp', operation: 'tools/call', tool: 'pay' },
    ...{ method: 'POST', path: '/', headers: [['content-type', 'application/json']] },
    ...{ contentType: 'application/json', body: utf8(body) },
  })

/** A person would approve of it without a second thought. */
const harmless = { protocol: 'http', operation: 'GET', tool: '', parameters: ['city'] }
/** The fabric's own description of a payment. */
const honest = { protocol: 'mcp', operation: 'tools/call', tool: 'pay', parameters: ['amount'] }

interface Claim {
  readonly digest: string
  readonly caller: string
  readonly about: typeof harmless
}

/** As a connector of an agent claims an approval of a call to that agent. */
async function claimAs(world: World, as: Agent, { about, caller, ...claim }: Claim) {
  const who = { exchange: newExchange(), caller: agentId(caller) }
  const body = JSON.stringify({ ...claim, ...about, ...who, reason: 'moves money' })
  const draft = { path: '/v1/mesh/approvals', body, as: as.credential() }
  const heard = await send(world.control, draft)
  expect(heard.status).toBe(200)
  return JSON.parse(heard.body.toString()) as { readonly state: string; readonly id: string }
}

let amounts = 1_000
const newPayment = (): string => payment(++amounts)

const ownActionInDisguise = (transport: Door['transport']): Attempt => {
  return async (world) => {
    const attacker = await gatedCaller(world, ['caller', 'approver'])
    const body = newPayment()
    const digest = digestOf(attacker, body)
    const claimed = await claimAs(world, attacker, { digest, caller: 'caller', about: harmless })
    expect(claimed.state).toBe('pending')
    // The request is one at the attacker's own agent, by another caller: it may decide on it.
    expect((await decideAs(world, attacker, { id: claimed.id })).status).toBe(200)
    const draft = { to: 'echo', body, as: attacker.credential() }
    const id = await pendingId(world, world[transport], draft)
    expect(id).not.toBe(claimed.id)
    expect(await show(world, id)).toMatchObject({
      ...{ ...honest, digest, state: 'pending' },
      ...{ caller: agentId(attacker.name), receiver: agentId('echo') },
    })
    expect(refusalOf(await decideAs(world, attacker, { id }))).toBe('NOT_PERMITTED')
  }
}

const useOfAnother = (transport: Door['transport']): Attempt => {
  return async (world) => {
    const [victim, attacker] = [await gatedCaller(world), await gatedCaller(world, ['caller'])]
    const draft = { to: 'echo', body: newPayment(), as: victim.credential() }
    const id = await pendingId(world, world[transport], draft)
    await decide(world, 'approve', id)
    const { digest } = await show(world, id)
    for (const about of [honest, harmless]) {
      const claim = await claimAs(world, attacker, { digest, caller: victim.name, about })
      expect(claim.state).toBe('pending')
      expect(claim.id).not.toBe(id)
    }
    expect(await show(world, id)).toMatchObject({ state: 'approved', consumedBy: null })
    expect((await send(world[transport], draft)).status).toBe(200)
  }
}

const denialOfAnother = (transport: Door['transport']): Attempt => {
  return async (world) => {
    const [victim, attacker] = [await gatedCaller(world), await gatedCaller(world, ['caller'])]
    const body = newPayment()
    const digest = digestOf(victim, body)
    for (const about of [honest, harmless]) {
      const claim = await claimAs(world, attacker, { digest, caller: victim.name, about })
      await decide(world, 'deny', claim.id)
    }
    const draft = { to: 'echo', body, as: victim.credential() }
    const id = await pendingId(world, world[transport], draft)
    expect(await show(world, id)).toMatchObject({ ...honest, digest, receiver: agentId('echo') })
    await decide(world, 'approve', id)
    expect((await send(world[transport], draft)).status).toBe(200)
  }
}

const attemptsOn = (transport: Door['transport']): Record<string, Attempt> => ({
  'that releases an action of its own under a harmless description': ownActionInDisguise(transport),
  'that uses up an action of another that was approved': useOfAnother(transport),
  'that hides an action of another, and has it denied': denialOfAnother(transport),
})

attack(
  verifies(
    ['authorize:approval'],
    'a connector claims no approval by the digest of another’s call',
  ),
  {
    gateway: attemptsOn('gateway'),
    mesh: attemptsOn('mesh'),
    queue: 'what needs an approval is refused on a channel',
  },
)
