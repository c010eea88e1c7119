import { expect } from 'vitest'
import { decide, gatedCaller, pendingId, show } from '../harness/approvals.ts'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Door, type Draft, type HeaderList, refusalOf, send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

const headers: HeaderList = [['MCP-Protocol-Version', '2025-06-18']]

/** A client's answer to a request of an MCP server, such as an elicitation. */
const answer = (id: unknown): Draft => ({
  body: JSON.stringify({ jsonrpc: '2.0', id, result: { action: 'accept' } }),
  headers,
})
const call = (members: object): Draft => ({
  body: JSON.stringify({ jsonrpc: '2.0', method: 'tools/call', ...members }),
})
const params = { name: 'pay', arguments: { amount: 5 } }
const cancel = (id: string): Draft => ({ path: '/tasks/A:cancel', body: JSON.stringify({ id }) })
const message = (id: string): Draft => ({
  path: '/message:send',
  body: JSON.stringify({ id, message: { messageId: 'm', role: 'ROLE_USER', parts: [] } }),
})

/** An approved message, and one that differs in a member that other messages make up anew. */
const pairs: Readonly<Record<string, readonly [approved: Draft, sent: Draft]>> = {
  'the answer to another question': [answer(7), answer(8)],
  'the answer to a question with a like id': [answer(7), answer('7')],
  'another task in the body, over HTTP+JSON': [cancel('A'), cancel('B')],
  'another id of a message, over HTTP+JSON': [message('A'), message('B')],
  'a notification in place of a call': [call({ id: 4, params }), call({ params })],
}

const released = (
  transport: Door['transport'],
  [approved, sent]: readonly [Draft, Draft],
): Attempt => {
  return async (world) => {
    const door = world[transport]
    const who = { to: 'echo', as: (await gatedCaller(world)).credential() }
    const id = await pendingId(world, door, { ...approved, ...who })
    await decide(world, 'approve', id)
    const before = world.echo.reached.length
    expect(refusalOf(await send(door, { ...sent, ...who }))).toBe('APPROVAL_PENDING')
    expect(world.echo.reached.length).toBe(before)
    expect((await show(world, id)).state).toBe('approved')
    await send(door, { ...approved, ...who })
    expect(await show(world, id)).toMatchObject({ state: 'consumed' })
  }
}

const attemptsOn = (transport: Door['transport']): Record<string, Attempt> =>
  Object.fromEntries(Object.entries(pairs).map(([how, pair]) => [how, released(transport, pair)]))

attack(
  verifies(
    ['authorize:approval'],
    'an approval does not release a message that differs in an id with a meaning',
  ),
  {
    gateway: attemptsOn('gateway'),
    mesh: attemptsOn('mesh'),
    queue: 'what needs an approval is refused on a channel',
  },
)
