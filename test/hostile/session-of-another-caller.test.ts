import { randomBytes } from 'node:crypto'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Door, type Draft, send } from '../harness/doors.ts'
import { answering } from '../harness/echo.ts'
import { exchangeOf, expectHeard, expectOutcome } from '../harness/refusals.ts'
import { openStream, streaming } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const rpc = (method: string) => JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: {} })

/** Starts a session as the caller, and gives its id. */
async function sessionOf(world: World, door: Door, to: string): Promise<string> {
  const id = randomBytes(16).toString('hex')
  const heard = await world.echo.during(answering({}, { 'mcp-session-id': id }), () =>
    send(door, { to, body: rpc('initialize') }),
  )
  expect(heard.headers.get('mcp-session-id')).toEqual([id])
  const again = await send(door, { to, body: rpc('ping'), headers: [['Mcp-Session-Id', id]] })
  expect(again.status).toBe(200)
  return id
}

const thefts: Readonly<Record<string, Draft>> = {
  'to call a tool': { to: 'mcp', body: rpc('tools/list') },
  'to listen': { to: 'mcp', method: 'GET', body: null },
  'to end it': { to: 'mcp', method: 'DELETE', body: null },
  'on a route with an open protocol': { to: 'echo', body: rpc('tools/list') },
  'under an operation of A2A': { to: 'echo', body: rpc('message/send') },
  'under an unknown operation': { to: 'echo', body: rpc('tasks/list') },
  'under plain HTTP': { to: 'echo', body: '{"a":1}' },
}

const steal =
  (transport: 'gateway' | 'mesh', draft: Draft): Attempt =>
  async (world) => {
    const door = world[transport]
    const id = await sessionOf(world, door, draft.to ?? '')
    const thief = await world.agent('thief', ['caller'])
    const before = world.echo.reached.length
    const headers = [['Mcp-Session-Id', id]] as const
    const heard = await send(door, { ...draft, headers, as: thief.credential() })
    // The same as for a session that never existed: a caller that guesses learns nothing.
    expect(world.echo.reached.slice(before)).toEqual([])
    const isSession = heard.headers.get('countersign-refusal')?.[0] === 'RECEIVER_UNKNOWN'
    if (!isSession) return expectHeard(heard, transport, 'OPERATION_UNKNOWN')
    expectHeard(heard, transport, 'RECEIVER_UNKNOWN')
    expectOutcome(await world.explain(exchangeOf(heard)), 'RECEIVER_UNKNOWN')
  }

/** The transport of MCP 2024-11-05 gives the address of a session in an event. */
const listen =
  (transport: 'gateway' | 'mesh', to: string): Attempt =>
  async (world) => {
    const door = world[transport]
    const id = randomBytes(16).toString('hex')
    const path = `/messages?sessionId=${id}`
    const draft = { to, method: 'GET', body: null } as const
    const events = await world.echo.during(
      streaming([`event: endpoint\ndata: ${path}\n\n`, 'data: {}\n\n']),
      async () => {
        const stream = await openStream(door, draft)
        return stream.ended()
      },
    )
    expect(events).not.toContain(id)
    expect(events).toContain('RESPONSE_REJECTED')
    // No client takes a document for an address.
    const others = await world.echo.during(
      streaming([`event: endpoint\ndata: {"region":"eu"}\n\n`]),
      async () => (await openStream(door, draft)).ended(),
    )
    expect(others).toContain('"region"')
    for (const query of ['sessionId', 'session_id', 'session[id]', 'a=1;sessionId']) {
      const before = world.echo.reached.length
      const answer = await send(door, { to, path: `/messages?${query}=${id}`, body: rpc('ping') })
      expect(world.echo.reached.slice(before)).toEqual([])
      expectHeard(answer, transport, 'OPERATION_UNKNOWN')
    }
  }

const onEach = (transport: 'gateway' | 'mesh') => ({
  ...Object.fromEntries(
    Object.entries(thefts).map(([way, draft]) => [way, steal(transport, draft)]),
  ),
  'over HTTP+SSE': listen(transport, 'mcp'),
  'over HTTP+SSE where the protocol is open': listen(transport, 'echo'),
})

attack(
  verifies(
    ['authenticate:someone@gateway', 'authenticate:someone@mesh'],
    'a session id is not a credential',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'channels know no sessions of the protocols above',
  },
)
