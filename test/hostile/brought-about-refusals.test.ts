import type { Identity } from '@countersign/sdk'
import { expect } from 'vitest'
import { attack, newName, worldOfFile } from '../harness/attack.ts'
import { agentId, type Draft, type HeaderList, send, sendInTurn } from '../harness/doors.ts'
import { meshEntry, recordInTurn, UNDECIDED } from '../harness/entries.ts'
import { type HeldServer, openHeldServer } from '../harness/held-server.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const POLICY = `@id("risky")
forbid(principal, action == Action::"call", resource) when { context.risk >= 50 };`

const session = '0123456789abcdef0123456789abcdef'

const rpc = (method: string, params: object = {}) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })

const initialize = rpc('initialize', {
  protocolVersion: '2025-06-18',
  capabilities: {},
  clientInfo: { name: 'a', version: '1' },
})

const message = {
  message: {
    kind: 'message',
    role: 'user',
    messageId: 'm1',
    parts: [{ kind: 'text', text: 'hi' }],
  },
}

type Headers = Readonly<Record<string, string>>

/**
 * The behaviour of a receiver towards its callers, and the requests that they then make in good
 * faith, again and again.
 */
interface Case {
  readonly protocol: 'a2a' | 'mcp'
  /** The response of the receiver to every caller. */
  readonly result?: object
  readonly headers?: Headers
  readonly events?: string
  /** A request of an accomplice, which gets the same ids first. */
  readonly first?: Draft
  /** The first request of the victim. */
  readonly begin: Draft
  /** The actions of the receiver against the victim before it asks again. */
  readonly meanwhile?: (world: World, evil: string) => Promise<unknown>
  readonly again: Draft
}

const json: HeaderList = [['accept', 'application/json']]
const events: HeaderList = [['accept', 'text/event-stream']]
const task = (id: string) => ({ kind: 'task', id, contextId: 'c1', status: { state: 'working' } })
const mcp = {
  protocolVersion: '2025-06-18',
  capabilities: {},
  serverInfo: { name: 'e', version: '1' },
}
const called = { body: rpc('tools/call', { name: 'x', arguments: {} }) }

const cases: Readonly<Record<string, Case>> = {
  'an id of a task that is too long to be remembered': {
    protocol: 'a2a',
    result: task('x'.repeat(300)),
    begin: { body: rpc('message/send', message) },
    again: { body: rpc('tasks/get', { id: 'x'.repeat(300) }) },
  },
  'an id of a task that reads in two ways': {
    protocol: 'a2a',
    result: task(''),
    begin: { body: rpc('message/send', message) },
    again: { body: rpc('tasks/get', { id: '' }) },
  },
  'an id of a task that an accomplice got first': {
    protocol: 'mcp',
    result: { ...mcp, task: { taskId: 'T1', status: 'working' } },
    first: called,
    begin: called,
    again: { body: rpc('tasks/get', { taskId: 'T1' }) },
  },
  'a session that an accomplice got first': {
    protocol: 'mcp',
    result: mcp,
    headers: { 'mcp-session-id': session },
    first: { body: initialize },
    begin: { body: initialize },
    again: { body: rpc('tools/list'), headers: [...json, ['mcp-session-id', session]] },
  },
  'an event that an accomplice got first': {
    protocol: 'mcp',
    events: `id: 1\ndata: ${JSON.stringify({ jsonrpc: '2.0', id: 1, result: {} })}\n\n`,
    first: { ...called, headers: events },
    begin: { ...called, headers: events },
    again: { method: 'GET', body: null, headers: [...events, ['last-event-id', '1']] },
  },
  'a card that promises what the fabric does not carry': {
    protocol: 'a2a',
    result: {},
    begin: { body: rpc('message/send', message) },
    again: {
      body: rpc('tasks/pushNotificationConfig/set', {
        taskId: 't',
        pushNotificationConfig: { url: 'https://a.example/' },
      }),
    },
  },
  'a quarantine that it earned': {
    protocol: 'mcp',
    result: mcp,
    begin: called,
    meanwhile: (world, name) => world.admin('agent.quarantine', { name, reason: 'told to' }),
    again: called,
  },
  'a revocation that it earned': {
    protocol: 'mcp',
    result: mcp,
    begin: called,
    meanwhile: (world, name) => world.admin('agent.revoke', { name, reason: 'told to' }),
    again: called,
  },
}

function answer(receiver: HeldServer, { result, headers = {}, events: stream }: Case): void {
  receiver.onRequest = (_, response) => {
    const type = stream === undefined ? 'application/json' : 'text/event-stream'
    response.writeHead(200, { 'content-type': type, ...headers })
    response.end(stream ?? JSON.stringify({ jsonrpc: '2.0', id: 1, result }))
  }
}

/** More than enough refusals within a minute to look like an attack of the caller. */
const askedAgain = 70

async function frame(world: World, example: Case): Promise<void> {
  await world.admin('policy.put', { name: 'risk.cedar', text: POLICY })
  const evil = newName('evil')
  await world.agent(evil, ['open'])
  const receiver = await openHeldServer()
  answer(receiver, example)
  const { protocol, first, begin, meanwhile, again } = example
  await world.admin('route.put', { name: evil, upstream: receiver.url, protocol })
  const victim = await world.agent(newName('victim'), ['caller'])
  const ask = (as: typeof victim, draft: Draft) =>
    send(world.gateway, { to: evil, as: as.credential(), headers: json, ...draft })
  try {
    if (first !== undefined) await ask(await world.agent(newName('accomplice'), ['caller']), first)
    expect((await ask(victim, begin)).status).toBe(200)
    await meanwhile?.(world, evil)
    const asked = Array.from({ length: askedAgain }, () => ({ to: evil, headers: json, ...again }))
    const answers = await sendInTurn(world.gateway, victim.credential(), asked)
    expect(answers).toHaveLength(askedAgain)
    for (const { headers } of answers) expect(headers.get('countersign-refusal')).toHaveLength(1)
  } finally {
    await receiver.close()
  }
  await expectUnharmed(world, victim)
}

async function expectUnharmed(world: World, victim: Identity): Promise<void> {
  const { risk } = (await world.admin('agent.show', { name: victim.name })) as { risk: number }
  expect(risk).toBeLessThan(15)
  expect((await send(world.gateway, { as: victim.credential() })).status).toBe(200)
}

/** Records, as the connector of the victim, calls that are refused there. */
async function frameByRecord(world: World, code: string): Promise<void> {
  await world.admin('policy.put', { name: 'risk.cedar', text: POLICY })
  const victim = await world.agent(newName('victim'), ['caller'])
  const evil = newName('evil')
  await world.agent(evil, ['open'])
  await world.admin('agent.quarantine', { name: evil, reason: 'told to' })
  const asked = { caller: agentId(victim.name), receiver: evil, protocol: 'mcp', code }
  // A connector states that its directory has the receiver as cut off.
  const denied = { ...asked, ...UNDECIDED, 'private.by-others': true }
  const facts = code === 'NOT_PERMITTED' ? denied : asked
  const batches = Array.from({ length: askedAgain }, () => [meshEntry({ kind: 'refusal', facts })])
  const answers = await recordInTurn(world, batches, victim.name)
  expect(answers.map(({ status }) => status)).toEqual(batches.map(() => 200))
  await expectUnharmed(world, victim)
}

const inWorld = worldOfFile({ receivers: ['echo'] })
const alone = (scene: (world: World) => Promise<void>) => () => inWorld(scene)

attack(
  verifies(
    ['detection:by-others'],
    'a receiver cannot have policy shut out its callers by refusals that it brings about',
  ),
  {
    gateway: Object.fromEntries(
      Object.entries(cases).map(([name, each]) => [name, alone((world) => frame(world, each))]),
    ),
    mesh: {
      'a quarantine that it earned': alone((world) => frameByRecord(world, 'NOT_PERMITTED')),
      'names that it handed out': alone((world) => frameByRecord(world, 'RECEIVER_UNKNOWN')),
    },
    queue: 'channels are of the operator, and their ids are not handed out by members',
  },
)
