import { randomBytes } from 'node:crypto'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Door, type Draft, refusalOf, send } from '../harness/doors.ts'
import { answering } from '../harness/echo.ts'
import type { Heard } from '../harness/raw-http.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const rpc = (method: string, params: unknown = {}) =>
  JSON.stringify({ jsonrpc: '2.0', id: 7, method, params })
const id = () => randomBytes(16).toString('hex')

async function inSession(world: World, door: Door, draft: Draft): Promise<Heard> {
  const session = id()
  const opening = { to: draft.to ?? 'mcp', body: rpc('initialize') }
  await world.echo.during(answering({}, { 'mcp-session-id': session }), () => send(door, opening))
  const headers = [...(draft.headers ?? []), ['Mcp-Session-Id', session]] as const
  const heard = await send(door, { ...draft, headers })
  const ping = { ...opening, body: rpc('ping'), headers: [['Mcp-Session-Id', session]] } as const
  expect((await send(door, ping)).status).toBe(200)
  return heard
}

const errorOf = ({ body }: Heard): unknown => JSON.parse(body.toString())

/**
 * A request in a live session, and the error by which its client learns that nothing became of it.
 */
const error =
  (draft: Draft, [refusal, code]: readonly [string, number], isMcp = true) =>
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const door = world[transport]
    const before = world.echo.reached.length
    const heard = await (isMcp ? inSession(world, door, draft) : send(door, draft))
    expect(world.echo.reached.slice(before).map(({ body }) => String(body))).not.toContain(
      draft.body,
    )
    expect([heard.status, refusalOf(heard)]).toEqual([200, refusal])
    expect(heard.headers.get('content-type')).toEqual(['application/json'])
    const told = { code, data: { code: refusal, retry: false, mayHaveActed: false } }
    expect(errorOf(heard)).toMatchObject({ jsonrpc: '2.0', id: 7, error: told })
  }

/** A request that is not JSON-RPC does not get a JSON-RPC answer. */
const status =
  (draft: Draft, refusal: string) =>
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (world) => {
    const heard = await inSession(world, world[transport], draft)
    expect([heard.status, refusalOf(heard)]).toEqual([400, refusal])
  }

const unknownMethod = ['OPERATION_UNKNOWN', -32_601] as const
const unknownTask = (code: number) => ['RECEIVER_UNKNOWN', code] as const
const idOfTask = { id: 'no-such-task-0001' }

const ways = {
  'by an unknown method': error({ to: 'mcp', body: rpc('vendor/do') }, unknownMethod),
  'by one whose parameters have no names': error(
    { to: 'mcp', body: rpc('eth_call', ['0x1']) },
    unknownMethod,
  ),
  'by one where the protocol is open': error(
    { to: 'echo', body: rpc('eth_call', ['0x1']) },
    unknownMethod,
  ),
  'by a push address': error(
    { to: 'echo', body: rpc('tasks/pushNotificationConfig/set') },
    unknownMethod,
  ),
  'by a task': error(
    { to: 'mcp', body: rpc('tasks/get', { taskId: idOfTask.id }) },
    unknownTask(-32_602),
  ),
  'by a task of A2A': error({ to: 'echo', body: rpc('GetTask', idOfTask) }, unknownTask(-32_001)),
  'by a task of A2A without a session': error(
    { to: 'a2a', body: rpc('tasks/get', idOfTask) },
    unknownTask(-32_001),
    false,
  ),
  'by an unknown method of A2A': error({ to: 'a2a', body: rpc('SendMoney') }, unknownMethod, false),
  'by a notification': status(
    { to: 'mcp', body: '{"jsonrpc":"2.0","method":"vendor/note"}' },
    'OPERATION_UNKNOWN',
  ),
  'by another HTTP method': status({ to: 'mcp', method: 'PUT' }, 'OPERATION_UNKNOWN'),
  'by a stream to go on with': status(
    { to: 'mcp', method: 'GET', body: null, headers: [['Last-Event-ID', 'no-such-event']] },
    'RECEIVER_UNKNOWN',
  ),
}

const onEach = (transport: 'gateway' | 'mesh'): Record<string, Attempt> =>
  Object.fromEntries(Object.entries(ways).map(([way, attempt]) => [way, attempt(transport)]))

attack(verifies(['authorize:operation'], 'anything unknown inside a session does not end it'), {
  gateway: onEach('gateway'),
  mesh: onEach('mesh'),
  queue: 'channels know no sessions of the protocols above',
})
