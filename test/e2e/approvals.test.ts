import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import {
  createSignatureBase,
  formatContentDigest,
  parseSignatures,
  utf8,
  verifyEd25519,
} from '@countersign/protocol'
import { type Agent, openAgent, openIdentity, RefusedError } from '@countersign/sdk'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { run } from '../../packages/fabric/src/cli/run.ts'
import { decide, decideAs, gatedCaller, payment, pendingId, show } from '../harness/approvals.ts'
import { newName } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { type Delegating, delegationOf, openDelegating, userKey } from '../harness/delegations.ts'
import { agentId, refusalOf, send } from '../harness/doors.ts'
import { type Echo, openEcho, type Reached } from '../harness/echo.ts'
import { approvalOf, exchangeOf } from '../harness/refusals.ts'
import { openWorld, type World } from '../harness/world.ts'

let world: World
let agent: Agent
let delegating: Delegating
/** The system that is notified. */
let hook: Echo

beforeAll(async () => {
  hook = await openEcho()
  const webhook = `${hook.url}/approvals`
  delegating = await openDelegating()
  const issuers = [delegating.terms]
  world = await openWorld({ receivers: ['echo', 'a2a', 'mcp'], webhook, issuers })
  // Puts the policies.
  await gatedCaller(world)
  const terms = { kind: 'agent', roles: ['gated'], segment: '', attributes: {} } as const
  const { join: line } = await world.fabric.invite({ ...terms, name: 'payer', ttlSeconds: 900 })
  agent = await openAgent({ join: line, dir: join(world.dir, 'payer') })
})
afterAll(async () => {
  await agent.close()
  await world.close()
  await hook.close()
})

async function countersign(...args: readonly string[]) {
  const written = { stdout: '', stderr: '' }
  const screen = (to: 'stdout' | 'stderr') => ({
    ...{ columns: 80, isTTY: true },
    write(text: string | Uint8Array) {
      written[to] += stripVTControlCharacters(String(text))
    },
  })
  const identity = ['--identity', join(world.dir, 'operator')]
  const screens = { stdout: screen('stdout'), stderr: screen('stderr') }
  const status = await run([...args, ...identity], screens)
  return { status, ...written }
}

const notificationOf = (id: string): Reached | undefined =>
  hook.reached.find(({ body }) => body.includes(id))

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('nothing is there yet')
  return value
}

/** A notification is the fabric's own: signed with the key of its trust document. */
async function expectSigned({ method, url, headers, body }: Reached): Promise<void> {
  const field = (name: string): [string, string] => [name, String(headers[name])]
  const names = ['content-type', 'content-digest', 'signature-input', 'signature']
  const authority = String(headers['host'])
  const request = { method, path: url, authority, headers: names.map(field) }
  const [signed] = parseSignatures(request.headers)
  if (signed === undefined) throw new Error('the notification is not signed')
  expect(signed.input).toContain(';tag="countersign-approval"')
  expect(signed.components).toContain('"content-digest"')
  const digest = createHash('sha256').update(body).digest()
  expect(headers['content-digest']).toBe(formatContentDigest(digest))
  const base = createSignatureBase(signed.input, request)
  expect(await verifyEd25519(agent.trust.fabricKey, signed.signature, utf8(base))).toBe(true)
}

const json = { 'content-type': 'application/json' }

/** The address at which the agent reaches the echo by its own connector. */
async function loopbackOf(name: string): Promise<string> {
  const { authority, path } = await world.connectors.loopback(name, 'echo', '/')
  return `http://${authority}${path}`
}

const refusalFrom = async (calling: Promise<unknown>): Promise<RefusedError> => {
  const error: unknown = await calling.catch((cause: unknown) => cause)
  if (error instanceof RefusedError) return error
  throw new Error(`no refusal, but ${String(error)}`)
}

describe('an action that needs an approval', () => {
  test('is requested, approved by another principal, delivered once, and on record [authorize:approval]', async () => {
    const reached = () => world.echo.reached.length
    const before = reached()
    const json = { amount: 5, secret: 'hunter2' }
    const refusal = await refusalFrom(agent.call('echo', { json }))
    expect(refusal).toMatchObject({ code: 'APPROVAL_PENDING', retry: true, mayHaveActed: false })
    const { id = '', expiresAt = 0 } = refusal.approval ?? {}
    expect(expiresAt).toBeGreaterThan(world.clock.now())

    const notified = await vi.waitFor(() => present(notificationOf(id)), deadline)
    expect(JSON.parse(notified.body.toString())).toEqual({
      ...{ id, caller: agent.spiffeId, receiver: agentId('echo') },
      ...{ protocol: 'http', operation: 'POST', tool: '' },
      expiresAt: new Date((await show(world, id)).expiresAt).toISOString(),
    })
    await expectSigned(notified)

    const listed = await countersign('approval', 'list')
    expect(listed.stdout).toContain(id)
    const shown = await countersign('approval', 'show', id)
    expect(shown.stdout).toMatch(/parameters\s+amount secret/)
    expect(shown.stdout).toContain('moves money')
    expect(shown.stdout).not.toContain('hunter2')
    expect(shown.stderr).toContain(`\ncountersign approval approve ${id} --reason <why>\n`)
    for (const line of `${listed.stdout}${shown.stdout}`.split('\n')) {
      expect(line.length).toBeLessThanOrEqual(80)
    }

    const waiting = agent.call('echo', { json, approval: { waitMs: 60_000 } })
    const approved = await countersign('approval', 'approve', id, '--reason', 'ticket 4711')
    expect(approved).toMatchObject({ status: 0, stdout: `${id} is approved\n` })
    const reply = await waiting
    expect(reply.status).toBe(200)
    await reply.bytes()
    expect(reached()).toBe(before + 1)

    const exchange = String(reply.exchange)
    const { approver, digest, consumedBy } = await show(world, id)
    expect(consumedBy).toBe(exchange)
    expect(await reply.receipt()).toMatchObject({ approval: { id, approver } })
    const [intent] = await world.explain(exchange)
    expect(intent?.facts).toMatchObject({
      ...{ 'approval.id': id, 'approval.approver': approver, 'approval.digest': digest },
    })
    const explained = await countersign('explain', exchange)
    expect(explained.stdout).toContain(id)
    expect(explained.stdout).toContain(String(approver))

    const again = await refusalFrom(agent.call('echo', { json }))
    expect(again.approval?.id).not.toBe(id)
    expect(reached()).toBe(before + 1)
  })

  test('on behalf of a user is shown with that user, to the approver and in the receipt', async () => {
    const token = await delegationOf(delegating, { user: 'ann', actor: agent.name })
    const headers = { authorization: `Bearer ${token}` }
    const json = { amount: 6 }
    const id = (await refusalFrom(agent.call('echo', { json, headers }))).approval?.id ?? ''
    const shown = await countersign('approval', 'show', id)
    expect(shown.stdout).toContain(userKey('ann'))
    await decide(world, 'approve', id)
    const reply = await agent.call('echo', { json, headers })
    await reply.bytes()
    expect(await reply.receipt()).toMatchObject({ caller: agent.spiffeId, user: userKey('ann') })
  })

  test('is on record with the decision and its digest before the decision takes effect', async () => {
    const as = (await gatedCaller(world)).credential()
    const id = await pendingId(world, world.gateway, { to: 'echo', body: payment(1), as })
    const { digest } = await decide(world, 'deny', id)
    const recent = await world.recorded()
    const decision = recent.find(({ facts }) => facts['event'] === 'approval-denied')
    expect(decision?.facts).toMatchObject({ object: id, 'approval.digest': digest })
  })

  test('is not decided on by a command that asks for the other decision, or names none', async () => {
    const as = (await gatedCaller(world)).credential()
    const id = await pendingId(world, world.gateway, { to: 'echo', body: payment(104), as })
    const command = (verdict: string, of = id) =>
      countersign('approval', verdict, of, '--reason', 'ticket 4711')
    expect(await command('approve')).toMatchObject({ status: 0 })
    expect(await command('approve')).toMatchObject({ status: 0 })
    const denied = await command('deny')
    expect(denied).toMatchObject({
      status: 1,
      stdout: `nothing changed: ${id} is approved already\n`,
    })
    const unknown = await command('deny', 'apr_019ae5f07c4d7000800000000000a1b2')
    expect(unknown.status).toBe(4)
    expect(unknown.stderr).toContain('countersign approval list')
    expect(unknown.stderr).not.toContain('agent list')
  })

  test('is shown with all of the reason of its policy, however narrow the terminal is', async () => {
    const reason = Array.from({ length: 30 }, (_, at) => `word${at}`).join(' ')
    const text = `@id("wordy") @approval("${reason}")
permit(principal in Role::"wordy", action == Action::"call", resource);`
    await world.admin('policy.put', { name: 'wordy.cedar', text })
    const as = (await world.agent(newName('wordy'), ['wordy'])).credential()
    const id = await pendingId(world, world.gateway, { to: 'echo', body: payment(105), as })
    const { stdout } = await countersign('approval', 'show', id)
    expect(stdout.replace(/\s+/g, ' ')).toContain(reason)
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
  })

  test('is decided on once by two approvers at once, and the log has that decision alone', async () => {
    const as = (await gatedCaller(world)).credential()
    const other = await world.agent(newName('approver'), ['approver'])
    for (const amount of [101, 102, 103]) {
      const id = await pendingId(world, world.gateway, { to: 'echo', body: payment(amount), as })
      const both = await Promise.all([
        decideAs(world, other, { id, operation: 'deny' }),
        decideAs(world, world.operator, { id, operation: 'approve' }),
      ])
      const taken = both.map(({ body }) => body.toString().includes('"taken":true'))
      expect(taken.filter(Boolean)).toHaveLength(1)
      const { state, approver } = await show(world, id)
      expect(state).toBe(taken[0] === true ? 'denied' : 'approved')
      const recent = await world.recorded()
      const events = recent.filter(
        ({ facts }) => facts['object'] === id && String(facts['event']).startsWith('approval-'),
      )
      expect(events.map(({ facts }) => facts)).toMatchObject([
        { event: `approval-${state}`, 'approval.approver': approver },
      ])
    }
  })

  test.each([
    ['a2a', 'SendMessage', { message: { role: 'ROLE_USER', parts: [{ text: 'pay' }] } }],
    ['mcp', 'tools/call', { name: 'pay', arguments: { amount: 5 } }],
  ] as const)(
    'is refused by %s as an error with the id and the end',
    async (to, method, params) => {
      const as = (await gatedCaller(world)).credential()
      const ask = (id: number) => {
        const message =
          'message' in params ? { ...params.message, messageId: `m-${id}` } : undefined
        const given = message === undefined ? params : { message }
        const body = JSON.stringify({ jsonrpc: '2.0', id, method, params: given })
        return send(world.gateway, { to, body, as })
      }
      const heard = await ask(1)
      expect(heard.status).toBe(409)
      const told = JSON.parse(heard.body.toString()) as {
        readonly error: { readonly data: object }
      }
      const id = approvalOf(heard)
      expect(told).toMatchObject({ id: 1, error: { code: -31_037 } })
      expect(told.error.data).toMatchObject({
        ...{ code: 'APPROVAL_PENDING', retry: true, mayHaveActed: false, approval: { id } },
        exchange: exchangeOf(heard),
      })
      // An unmodified client repeats its call under another id.
      await decide(world, 'approve', id)
      expect((await ask(2)).status).toBe(200)
      expect(refusalOf(await ask(3))).toBe('APPROVAL_PENDING')
    },
  )

  test('is named to a caller behind its own connector, as what the receiver states', async () => {
    const { name } = await gatedCaller(world)
    await world.connectors.of('echo')
    const url = await loopbackOf(name)
    const ask = () => fetch(url, { method: 'POST', body: payment(3), headers: json })
    const first = await vi.waitFor(async () => {
      const response = await ask()
      expect(response.headers.get('countersign-refusal')).toBe('APPROVAL_PENDING')
      return response
    }, deadline)
    expect(first.headers.get('countersign-stated-by')).toBe(agentId('echo'))
    expect(first.headers.get('countersign-may-have-acted')).toBe('true')
    const id = first.headers.get('countersign-approval')?.split(';')[0] ?? ''
    await decide(world, 'approve', id)
    expect((await ask()).status).toBe(200)
  })

  test('of an operator takes effect once another operator approves it', async () => {
    const name = 'second-operator.cedar'
    const text = `@id("two-operators") @approval("changes a route")
permit(principal == User::"junior", action == Action::"administer", resource is Fabric)
when { context.operation == "route.put" || context.operation like "approval.*" };`
    expect(await world.admin('policy.put', { name, text })).toMatchObject({ taken: true })
    const terms = { kind: 'user', roles: [], segment: '', attributes: {} } as const
    const { join: line } = await world.fabric.invite({ ...terms, name: 'junior', ttlSeconds: 900 })
    const dir = join(world.dir, 'junior')
    mkdirSync(dir, { mode: 0o700 })
    const junior = await openIdentity({ join: line, dir, clock: world.clock, onFault: () => {} })
    try {
      const order = { name: 'made', upstream: 'http://127.0.0.1:9' }
      const as = junior.credential()
      const body = JSON.stringify({ operation: 'route.put', args: order })
      const ask = () => send(world.control, { path: '/v1/admin', body, as })
      const id = approvalOf(await ask())
      const own = JSON.stringify({ operation: 'approval.approve', args: { id, reason: 'mine' } })
      const self = await send(world.control, { path: '/v1/admin', body: own, as })
      expect(refusalOf(self)).toBe('APPROVAL_REQUIRED')
      await decide(world, 'approve', id)
      expect((await ask()).status).toBe(200)
      const routes = (await world.admin('route.list')) as readonly { readonly name: string }[]
      expect(routes.map((route) => route.name)).toContain('made')
    } finally {
      junior.close()
    }
  })
})
