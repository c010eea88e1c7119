import { principalKey } from '@countersign/protocol'
import { expect } from 'vitest'
import { type Attempt, attack, inOwnWorld } from '../harness/attack.ts'
import { agentId, type Draft, refusalOf, send } from '../harness/doors.ts'
import { issuerAudience, issuerUrl, openTestIssuer } from '../harness/issuer.ts'
import { exchangeOf, refusedByFabric } from '../harness/refusals.ts'
import { openStream, streaming } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const registration = JSON.stringify({
  ...{ instance: 'one', ttlSeconds: 60 },
  endpoints: [{ url: 'https://127.0.0.1:1', protocol: 'auto' }],
})

/** A principal of the issuer, as it calls. */
type Outsider = (subject: string, claims?: object, changes?: object) => Promise<Draft>

/** A world that admits principals of one other issuer: with the group `callers`, they may call. */
function withIssuer(
  attempt: (world: World, outsider: Outsider) => Promise<void>,
  limits: Readonly<Record<string, number>> = {},
): Attempt {
  return async () => {
    const issuer = await openTestIssuer()
    const terms = {
      ...{ issuer: issuerUrl, audience: issuerAudience, kind: 'user', keyFile: issuer.keyFile },
      roles: [{ claim: 'groups', value: 'callers', role: 'caller' }],
    }
    const options = { receivers: ['echo', 'a2a'] as const, issuers: [terms], limits }
    await inOwnWorld({ ...options, receivers: [...options.receivers] }, (world) =>
      attempt(world, async (sub, claims = { groups: ['callers'] }, changes = {}) => {
        const token = await issuer.token({ sub, ...claims }, changes)
        return { as: null, headers: [['Authorization', `Bearer ${token}`]] }
      }),
    )
  }
}

const keyOf = (subject: string) => principalKey({ kind: 'user', issuer: issuerUrl, subject })
const rpc = (method: string, params: object) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })

attack(
  verifies(
    ['authenticate:principal@gateway', 'authenticate:principal@mesh'],
    'a principal is not taken for another of the same name',
  ),
  {
    gateway: {
      'the roles of a user do not describe a receiver of its name': async (world) => {
        await world.user('namesake', ['open'])
        await world.admin('route.put', { name: 'namesake', upstream: world.echo.url })
        const count = world.echo.reached.length
        expect(refusalOf(await send(world.gateway, { to: 'namesake' }))).toBe('NOT_PERMITTED')
        expect(world.echo.reached).toHaveLength(count)
      },
      'a subject that is a name or an identity of the fabric': withIssuer(
        async (world, outsider) => {
          for (const subject of ['operator', 'caller', agentId('caller')]) {
            const draft = await outsider(subject)
            const heard = await send(world.gateway, { to: 'echo', ...draft })
            expect(heard.status).toBe(200)
            const [intent] = await world.explain(exchangeOf(heard))
            expect(intent?.facts['caller']).toBe(keyOf(subject))
            expect(world.echo.reached.at(-1)?.headers['countersign-from']).toBe(keyOf(subject))
            // The role of the operator of that name is not the outsider's.
            const body = JSON.stringify({ operation: 'agent.list', args: {} })
            const admin = { ...draft, path: '/v1/admin', body }
            expect(refusalOf(await send(world.control, admin))).toBe('NOT_PERMITTED')
          }
        },
      ),
      'claims that no rule names': withIssuer(async (world, outsider) => {
        for (const claims of [
          {},
          { roles: ['caller'] },
          { groups: 'caller' },
          { role: 'caller' },
        ]) {
          const draft = await outsider('alice', claims)
          expect(refusalOf(await send(world.gateway, draft))).toBe('NOT_PERMITTED')
        }
      }),
      'the allowance of an agent of its name': withIssuer(
        async (world, outsider) => {
          const draft = await outsider('caller')
          for (let i = 0; i < 3; i++) expect((await send(world.gateway, draft)).status).toBe(200)
          expect(refusalOf(await send(world.gateway, draft))).toBe('RATE_LIMITED')
          expect((await send(world.gateway, {})).status).toBe(200)
        },
        { requestsPerMinute: 3 },
      ),
      'the risk of an agent of its name': withIssuer(async (world, outsider) => {
        const denied = await outsider('caller', {})
        for (let i = 0; i < 80; i++) await send(world.gateway, denied)
        const shown = (await world.admin('agent.show', { name: 'caller' })) as { risk: number }
        expect(shown.risk).toBe(0)
        await world.admin('agent.quarantine', { name: keyOf('caller'), reason: 'told to' })
        const own = await world.admin('agent.show', { name: keyOf('caller') })
        expect((own as { risk: number }).risk).toBeGreaterThanOrEqual(50)
        expect((await send(world.gateway, {})).status).toBe(200)
      }),
      'a task of an agent of its name': withIssuer(async (world, outsider) => {
        const id = 'task-of-the-agent-caller'
        const task = { id, contextId: 'c', status: { state: 'TASK_STATE_WORKING' } }
        const answer = JSON.stringify({ jsonrpc: '2.0', id: 1, result: { task } })
        const answering = (_: unknown, response: import('node:http').ServerResponse) => {
          response.writeHead(200, { 'content-type': 'application/json' }).end(answer)
        }
        const created = await world.echo.during(answering, () =>
          send(world.gateway, {
            ...{ to: 'a2a', body: rpc('SendMessage', { message: { messageId: '1' } }) },
          }),
        )
        expect(created.status).toBe(200)
        const draft = await outsider('caller')
        const theft = { to: 'a2a', body: rpc('GetTask', { id }), ...draft }
        const count = world.echo.reached.length
        await send(world.gateway, theft)
        expect(world.echo.reached).toHaveLength(count)
      }),
      'while it is in quarantine, whose record cuts its streams': withIssuer(
        async (world, outsider) => {
          const draft = await outsider('alice')
          await world.echo.during(streaming(['data: {"a":1}\n\n'], true), async () => {
            const stream = await openStream(world.gateway, draft)
            await stream.until(/"a":1/)
            const order = { name: keyOf('alice'), reason: 'told to' }
            await world.admin('agent.quarantine', order)
            expect(await stream.ended()).toContain('caller-quarantined')
          })
          expect(refusalOf(await send(world.gateway, draft))).toBe('AGENT_QUARANTINED')
          expect((await send(world.gateway, await outsider('bob'))).status).toBe(200)
          await world.admin('agent.restore', { name: keyOf('alice'), reason: 'over' })
          expect((await send(world.gateway, draft)).status).toBe(200)
        },
      ),
    },
    mesh: {
      'a user does not receive under its name': refusedByFabric('NOT_PERMITTED', async (world) => ({
        ...{ path: '/v1/mesh/endpoints', body: registration },
        as: (await world.user('receiving-user', ['caller'])).credential(),
      })),
    },
    queue: 'a channel has members of the directory, whose names are unique',
  },
)
