import { encodeFrames } from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { expect, vi } from 'vitest'
import { gatedCaller, payment, pendingId, show } from '../harness/approvals.ts'
import { type Attempt, attack, newName, worldOfFile } from '../harness/attack.ts'
import { draftTo, openHall, openSealer, orderOf } from '../harness/channels.ts'
import { deadline } from '../harness/deadline.ts'
import { bearing, delegationOf, openDelegating, userKey } from '../harness/delegations.ts'
import { agentId, type Door, type Draft, refusalOf, send } from '../harness/doors.ts'
import { approvalOf, exchangeOf } from '../harness/refusals.ts'
import { openStream, streaming } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const delegating = await openDelegating()
const inWorld = worldOfFile({
  receivers: ['echo', 'a2a', 'mcp'],
  issuers: [delegating.terms],
  webhook: 'http://127.0.0.1:9/',
})
const here =
  (attempt: Attempt): Attempt =>
  () =>
    inWorld(attempt)

const rpc = (id: number, method: string, params: object) =>
  JSON.stringify({ jsonrpc: '2.0', id, method, params })

/** One action on each protocol, as a client repeats it. */
const actions: Readonly<Record<string, (attempt: number) => Draft>> = {
  http: (attempt) => ({ to: 'echo', body: payment(5, attempt) }),
  a2a: (attempt) => {
    const message = { messageId: `m-${attempt}`, role: 'ROLE_USER', parts: [{ text: 'pay' }] }
    return { to: 'a2a', body: rpc(attempt, 'SendMessage', { message }) }
  },
  mcp: (attempt) => ({
    ...{ to: 'mcp', body: rpc(attempt, 'tools/call', { name: 'pay', arguments: { amount: 5 } }) },
  }),
}

const tokenOf = (user: string, caller: Pick<Identity, 'name'>) =>
  delegationOf(delegating, { user, actor: caller.name })

/** Decides as a user of the issuer, by its own token, or as an agent that acts for it. */
async function decideAsUser(world: World, user: string, id: string, by: Identity | null = null) {
  const args = { id, reason: 'as agreed' }
  const body = JSON.stringify({ operation: 'approval.approve', args })
  const token =
    by === null
      ? await delegating.issuer.token({ sub: user, groups: ['approvers'] })
      : await tokenOf(user, by)
  const as = by === null ? null : by.credential()
  return send(world.control, { path: '/v1/admin', body, as, ...bearing(token) })
}

/** The user tries to approve what is done on its behalf; then another one does. */
const selfApproval =
  (draftOf: (attempt: number) => Draft): Attempt =>
  async (world) => {
    const caller = await gatedCaller(world)
    const [ann, bob] = [newName('ann'), newName('bob')]
    const as = caller.credential()
    const headers = bearing(await tokenOf(ann, caller))
    const id = await pendingId(world, world.gateway, { ...draftOf(1), as, ...headers })
    const assistant = await world.agent(newName('assistant'), ['approver'])
    expect(refusalOf(await decideAsUser(world, ann, id))).toBe('NOT_PERMITTED')
    expect(refusalOf(await decideAsUser(world, ann, id, assistant))).toBe('NOT_PERMITTED')
    expect(await show(world, id)).toMatchObject({ state: 'pending', user: userKey(ann) })
    expect((await decideAsUser(world, bob, id)).status).toBe(200)
    const heard = await send(world.gateway, { ...draftOf(2), as, ...headers })
    expect(heard.status).toBe(200)
    const [intent] = await world.explain(exchangeOf(heard))
    expect(intent?.facts).toMatchObject({
      ...{ caller: caller.spiffeId, 'caller.user': userKey(ann), 'approval.id': id },
    })
  }

/** An approval that one user's request was given is used for another's, and for none. */
const swappedUser =
  (draftOf: (attempt: number) => Draft): Attempt =>
  async (world) => {
    const caller = await gatedCaller(world)
    const as = caller.credential()
    const headers = bearing(await tokenOf('ann', caller))
    const id = await pendingId(world, world.gateway, { ...draftOf(1), as, ...headers })
    expect((await decideAsUser(world, 'bob', id)).status).toBe(200)
    const count = world.echo.reached.length
    for (const other of [bearing(await tokenOf('eve', caller)), {}]) {
      const heard = await send(world.gateway, { ...draftOf(2), as, ...other })
      expect(refusalOf(heard)).toBe('APPROVAL_PENDING')
      expect(approvalOf(heard)).not.toBe(id)
    }
    expect(world.echo.reached).toHaveLength(count)
    expect((await send(world.gateway, { ...draftOf(3), as, ...headers })).status).toBe(200)
  }

const onEach = (attemptOf: typeof selfApproval, what: string) =>
  Object.fromEntries(
    Object.entries(actions).map(([protocol, draftOf]) => [
      `${what}, by ${protocol}`,
      here(attemptOf(draftOf)),
    ]),
  )

interface Claim {
  readonly refusal: string
  /** The token, for a caller and its user. */
  readonly token: (caller: Identity) => Promise<string>
  readonly isAlone?: boolean
}

const forged = await openDelegating()
const withAct = (act: unknown) => () => delegating.issuer.token({ sub: 'ann', act })
const claims: Readonly<Record<string, Claim>> = {
  'by a delegation to another agent': {
    refusal: 'CREDENTIALS_CONFLICTING',
    token: () => tokenOf('ann', { name: 'other' }),
  },
  'by the own token of the user': {
    refusal: 'CREDENTIALS_CONFLICTING',
    token: () => delegating.issuer.token({ sub: 'ann', groups: ['callers'] }),
  },
  'by a delegation without a credential of the agent': {
    ...{ refusal: 'CREDENTIAL_REJECTED', isAlone: true },
    token: (caller) => tokenOf('ann', caller),
  },
  'by a delegation of another key': {
    refusal: 'CREDENTIAL_REJECTED',
    token: ({ name }) => delegationOf(forged, { user: 'ann', actor: name }),
  },
  'by a delegation that has expired': {
    refusal: 'CREDENTIAL_EXPIRED',
    token: ({ name }) =>
      delegationOf(delegating, { user: 'ann', actor: name, now: Date.now() - 600_000 }),
  },
  'by an actor that is a bare name': {
    refusal: 'CREDENTIAL_REJECTED',
    token: ({ name }) => withAct({ sub: name })(),
  },
  'by an actor of another issuer': {
    refusal: 'CREDENTIAL_REJECTED',
    token: ({ spiffeId }) => withAct({ sub: spiffeId, iss: 'https://elsewhere.example' })(),
  },
  'by an actor that is nested': {
    refusal: 'CREDENTIAL_REJECTED',
    token: ({ spiffeId }) => withAct({ act: { sub: spiffeId } })(),
  },
  'by an actor that is a text': {
    refusal: 'CREDENTIAL_REJECTED',
    token: ({ spiffeId }) => withAct(spiffeId)(),
  },
  'by no actor': { refusal: 'CREDENTIAL_REJECTED', token: withAct(null) },
}

/** A user is claimed without a proof; the request is refused, and not sent as the caller's own. */
const claimedUser =
  (door: (world: World) => Door, { refusal, token, isAlone = false }: Claim): Attempt =>
  async (world) => {
    const caller = await world.agent(newName('claimer'), ['caller'])
    const as = isAlone ? null : caller.credential()
    const count = world.echo.reached.length
    const heard = await send(door(world), { as, ...bearing(await token(caller)) })
    expect(refusalOf(heard)).toBe(refusal)
    expect(world.echo.reached).toHaveLength(count)
  }

const eachClaim = (attemptOf: (claim: Claim) => Attempt) =>
  Object.fromEntries(
    Object.entries(claims).map(([how, claim]) => [
      `a user that is claimed ${how}`,
      here(attemptOf(claim)),
    ]),
  )

async function loopbackOf(world: World, name: string) {
  const { authority, path } = await world.connectors.loopback(name, 'echo', '/')
  return (body: string, token: string | null) =>
    fetch(`http://${authority}${path}`, {
      ...{ method: 'POST', body },
      headers: {
        'content-type': 'application/json',
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
    })
}

async function onChannel(world: World) {
  const { name, members } = await openHall(
    world,
    ['reader', 'sender'].map((role) => newName(role)),
  )
  const [, , sender] = members
  if (sender === undefined) throw new Error('a member is missing')
  const sealer = await openSealer(world, name, sender)
  const put = async (token: string) => {
    const body = encodeFrames([sealer.seal(orderOf()).bytes])
    const draft = { ...draftTo(name, 'messages', { body }), as: sender.credential() }
    return send(world.control, { ...draft, ...bearing(token) })
  }
  const policy = (text: string) => world.admin('policy.put', { name: 'queue.cedar', text })
  return { name, sender, put, policy }
}

attack(
  verifies(
    ['authorize:approval'],
    'a user does not approve what is done on its behalf, and is not claimed without a proof',
  ),
  {
    gateway: {
      ...onEach(selfApproval, 'the user approves its own request'),
      ...onEach(swappedUser, 'an approval for one user is used for another'),
      ...eachClaim((claim) => claimedUser((world) => world.gateway, claim)),
      'a user in quarantine, on whose behalf another agent approved': here(async (world) => {
        const caller = await gatedCaller(world)
        const draft = { to: 'echo', body: payment(31), as: caller.credential() }
        const id = await pendingId(world, world.gateway, draft)
        const user = newName('approver')
        const assistant = await world.agent(newName('assistant'), ['approver'])
        expect((await decideAsUser(world, user, id, assistant)).status).toBe(200)
        await world.admin('agent.quarantine', { name: userKey(user), reason: 'told to' })
        const count = world.echo.reached.length
        const heard = await send(world.gateway, draft)
        expect(refusalOf(heard)).toBe('APPROVAL_PENDING')
        expect(approvalOf(heard)).not.toBe(id)
        expect(world.echo.reached).toHaveLength(count)
      }),
      'a user that a field of the request names': here(async (world) => {
        const caller = await gatedCaller(world)
        const draft = { to: 'echo', body: payment(9), as: caller.credential() }
        const headers = [['Countersign-User', userKey('ann')]] as const
        const id = await pendingId(world, world.gateway, { ...draft, headers })
        expect((await show(world, id)).user).toBeNull()
        expect(approvalOf(await send(world.gateway, draft))).toBe(id)
      }),
      'a user in quarantine, whose streams are cut': here(async (world) => {
        const user = newName('suspect')
        const caller = await world.agent(newName('helper'), ['caller'])
        const draft = { as: caller.credential(), ...bearing(await tokenOf(user, caller)) }
        await world.echo.during(streaming(['data: {"a":1}\n\n'], true), async () => {
          const stream = await openStream(world.gateway, draft)
          await stream.until(/"a":1/)
          await world.admin('agent.quarantine', { name: userKey(user), reason: 'told to' })
          expect(await stream.ended()).toContain('caller-quarantined')
        })
        expect(refusalOf(await send(world.gateway, draft))).toBe('AGENT_QUARANTINED')
        expect((await send(world.gateway, { as: caller.credential() })).status).toBe(200)
      }),
      'a user that policy forbids': here(async (world) => {
        const text = `forbid(principal, action == Action::"call", resource)
when { context.user == "${userKey('mallory')}" };`
        await world.admin('policy.put', { name: 'mallory.cedar', text })
        const caller = await world.agent(newName('helper'), ['caller'])
        const ask = async (user: string) =>
          send(world.gateway, { as: caller.credential(), ...bearing(await tokenOf(user, caller)) })
        expect(refusalOf(await ask('mallory'))).toBe('NOT_PERMITTED')
        expect((await ask('ann')).status).toBe(200)
      }),
    },
    mesh: {
      ...eachClaim((claim) =>
        claimedUser((world) => world.mesh, {
          ...claim,
          refusal: 'CREDENTIAL_REJECTED',
          isAlone: false,
        }),
      ),
      'a user that the receiver’s connector cannot verify': here((world) =>
        claimedUser(() => world.mesh, {
          refusal: 'CREDENTIAL_REJECTED',
          token: (caller) => tokenOf('ann', caller),
        })(world),
      ),
      'the user approves its own request, sent by a connector': here(async (world) => {
        const caller = await gatedCaller(world)
        await world.connectors.of('echo')
        const ask = await loopbackOf(world, caller.name)
        const token = await tokenOf('ann', caller)
        const id = await vi.waitFor(async () => {
          const response = await ask(payment(77), token)
          expect(response.headers.get('countersign-refusal')).toBe('APPROVAL_PENDING')
          return response.headers.get('countersign-approval')?.split(';')[0] ?? ''
        }, deadline)
        expect(await show(world, id)).toMatchObject({ user: userKey('ann'), state: 'pending' })
        expect(refusalOf(await decideAsUser(world, 'ann', id))).toBe('NOT_PERMITTED')
        expect((await decideAsUser(world, 'bob', id)).status).toBe(200)
        const count = world.echo.reached.length
        for (const other of [await tokenOf('eve', caller), null]) {
          const response = await ask(payment(77, 2), other)
          expect(response.headers.get('countersign-refusal')).toBe('APPROVAL_PENDING')
        }
        expect(world.echo.reached).toHaveLength(count)
        expect((await ask(payment(77, 3), token)).status).toBe(200)
      }),
      'a user that a connector claims for an approval': here(async (world) => {
        const echo = await world.agent('echo')
        const claim = {
          ...{ exchange: 'exc_a_019ae5f07c4d7000800000000000a1b2', digest: 'a'.repeat(64) },
          ...{ caller: agentId('caller'), protocol: 'http', operation: 'POST', tool: '' },
          ...{ parameters: [], reason: 'moves money' },
        }
        const ask = (user: object) =>
          send(world.control, {
            ...{ path: '/v1/mesh/approvals', as: echo.credential() },
            body: JSON.stringify({ ...claim, ...user }),
          })
        expect(refusalOf(await ask({ user: userKey('ann') }))).toBe('MESSAGE_MALFORMED')
        expect((await ask({})).status).toBe(200)
      }),
    },
    queue: {
      'a user is on record, and one that is claimed without a proof is refused': here(
        async (world) => {
          const { sender, put } = await onChannel(world)
          const heard = await put(await tokenOf('ann', sender))
          expect(heard.status).toBe(200)
          const [intent] = await world.explain(exchangeOf(heard))
          expect(intent?.facts).toMatchObject({ 'caller.user': userKey('ann') })
          for (const { token, refusal, isAlone = false } of Object.values(claims)) {
            if (!isAlone) expect(refusalOf(await put(await token(sender)))).toBe(refusal)
          }
        },
      ),
      'a user that policy forbids, and one without whom it permits nothing': here(async (world) => {
        const { name, sender, put, policy } = await onChannel(world)
        const rule = (effect: string, test: string) =>
          policy(
            `${effect}(principal, action == Action::"publish", resource == Channel::"${name}")
when { ${test} };`,
          )
        await rule('forbid', `context.user == "${userKey('mallory')}"`)
        expect(refusalOf(await put(await tokenOf('mallory', sender)))).toBe('NOT_PERMITTED')
        expect((await put(await tokenOf('ann', sender))).status).toBe(200)
        // A message outlives the proof of its user.
        await rule('forbid', 'context.user == ""')
        expect(refusalOf(await put(await tokenOf('ann', sender)))).toBe('NOT_PERMITTED')
      }),
      'an approval, which no message waits for': here(async (world) => {
        const { name, sender, put, policy } = await onChannel(world)
        await policy(`@approval("publishes") permit(principal, action == Action::"publish",
resource == Channel::"${name}");`)
        expect(refusalOf(await put(await tokenOf('ann', sender)))).toBe('APPROVAL_REQUIRED')
      }),
    },
  },
)
