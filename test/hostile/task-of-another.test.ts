import { randomUUID } from 'node:crypto'
import type { Identity } from '@countersign/sdk'
import { expect, vi } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { type Draft, refusalOf, send } from '../harness/doors.ts'
import { answering } from '../harness/echo.ts'
import { exchangeOf, expectHeard, expectOutcome } from '../harness/refusals.ts'
import { openStream, streaming } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Transport = 'gateway' | 'mesh'

const rpc = (method: string, params: object = {}) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
const result = (value: object) => ({ jsonrpc: '2.0', id: 1, result: value })
const send1 = (message: object) => ({ body: rpc('SendMessage', { message }) })

interface Created {
  readonly task: string
  readonly context: string
}

/** A task of the caller of the world, at `to`, as the receiver reports it. */
async function create(
  world: World,
  transport: Transport,
  to: string,
  as: Draft['as'] = world.caller.credential(),
): Promise<Created> {
  const task = randomUUID()
  const context = randomUUID()
  const told = { task: { id: task, contextId: context, status: { state: 'TASK_STATE_WORKING' } } }
  const heard = await world.echo.during(answering(result(told)), () =>
    send(world[transport], { to, as, ...send1({ messageId: '1' }) }),
  )
  expect(heard.status).toBe(200)
  return { task, context }
}

/** Every operation on a task of another, on every binding and in every spelling of its id. */
const thefts: Readonly<Record<string, (created: Created) => Draft>> = {
  'read it': ({ task }) => ({ to: 'a2a', body: rpc('GetTask', { id: task }) }),
  'cancel it': ({ task }) => ({ to: 'a2a', body: rpc('CancelTask', { id: task }) }),
  'subscribe to it': ({ task }) => ({ to: 'a2a', body: rpc('SubscribeToTask', { id: task }) }),
  'read it by its older name': ({ task }) => ({ to: 'a2a', body: rpc('tasks/get', { id: task }) }),
  'cancel it by its older name': ({ task }) => ({
    ...{ to: 'a2a', body: rpc('tasks/cancel', { id: task }) },
  }),
  'subscribe by the older name': ({ task }) => ({
    ...{ to: 'a2a', body: rpc('tasks/resubscribe', { id: task }) },
  }),
  'by a resource name': ({ task }) => ({
    to: 'a2a',
    body: rpc('GetTask', { name: `tasks/${task}` }),
  }),
  'under another member': ({ task }) => ({ to: 'a2a', body: rpc('GetTask', { taskId: task }) }),
  'in snake case': ({ task }) => ({ to: 'a2a', body: rpc('GetTask', { task_id: task }) }),
  'in capitals': ({ task }) => ({ to: 'a2a', body: rpc('GetTask', { ID: task }) }),
  'escaped in JSON': ({ task }) => ({
    to: 'a2a',
    body: rpc('GetTask', { id: 'X' }).replace(
      '"X"',
      `"\\u${task.charCodeAt(0).toString(16).padStart(4, '0')}${task.slice(1)}"`,
    ),
  }),
  'with an own one next to it': ({ task }) => ({
    ...{ to: 'a2a', body: rpc('GetTask', { id: 'own', taskId: task }) },
  }),
  'write to it': ({ task }) => ({ to: 'a2a', ...send1({ taskId: task }) }),
  'write to it in snake case': ({ task }) => ({ to: 'a2a', ...send1({ task_id: task }) }),
  'go on with its conversation': ({ context }) => ({ to: 'a2a', ...send1({ contextId: context }) }),
  'refer to it': ({ task }) => ({ to: 'a2a', ...send1({ referenceTaskIds: [task] }) }),
  'list its conversation': ({ context }) => ({
    ...{ to: 'a2a', body: rpc('ListTasks', { contextId: context }) },
  }),
  'on a route with an open protocol': ({ task }) => ({
    to: 'echo',
    body: rpc('tasks/get', { id: task }),
  }),
  'over plain HTTP': ({ task }) => ({
    ...{ to: 'echo', method: 'GET', path: `/v1/tasks/${task}`, body: null },
  }),
  'over plain HTTP without a version': ({ task }) => ({
    ...{ to: 'echo', method: 'GET', path: `/tasks/${task}`, body: null },
  }),
  'over plain HTTP for a tenant': ({ task }) => ({
    ...{ to: 'echo', method: 'GET', path: `/v1/acme/tasks/${task}?historyLength=9`, body: null },
  }),
  'by cancelling over plain HTTP': ({ task }) => ({
    ...{ to: 'echo', path: `/v1/tasks/${task}:cancel` },
  }),
  'by a colon that is encoded': ({ task }) => ({
    ...{ to: 'echo', path: `/v1/tasks/${task}%3Acancel` },
  }),
  'by subscribing over plain HTTP': ({ task }) => ({
    ...{ to: 'echo', method: 'GET', path: `/v1/tasks/${task}:subscribe`, body: null },
  }),
  'by a path in capitals': ({ task }) => ({
    ...{ to: 'echo', method: 'GET', path: `/v1/Tasks/${task}`, body: null },
  }),
  'by a path in escapes': ({ task }) => ({
    ...{ to: 'echo', method: 'GET', path: `/v1/%74asks/${task}`, body: null },
  }),
  'as if it were a stream of MCP': ({ task }) => ({
    ...{ to: 'echo', method: 'GET', path: `/v1/tasks/${task}`, body: null },
    headers: [['MCP-Protocol-Version', '2025-11-25']],
  }),
  'by sending over plain HTTP': ({ task }) => ({
    ...{ to: 'echo', path: '/v1/message:send' },
    body: JSON.stringify({ message: { taskId: task } }),
  }),
}

/** Ways that some receivers take for one of those above, and others do not. */
const oddThefts: Readonly<Record<string, (created: Created, own: Created) => Draft>> = {
  ...Object.fromEntries(
    Object.entries({
      'a dot behind the word': (task: string) => `/v1/tasks./${task}`,
      'a blank behind the word': (task: string) => `/v1/tasks%20/${task}`,
      'a blank before the word': (task: string) => `/v1/%20tasks/${task}`,
      'a no-break space behind the word': (task: string) => `/v1/tasks%C2%A0/${task}`,
      'parameters behind the word': (task: string) => `/v1/tasks;x=1/${task}`,
      'a dot behind the id': (task: string) => `/v1/tasks/${task}.`,
      'a blank behind the id': (task: string) => `/v1/tasks/${task}%20`,
      'a slash behind the id': (task: string) => `/v1/tasks/${task}/`,
      'a soft hyphen': (task: string) => `/v1/ta%C2%ADsks/${task}`,
      'letters of another width': (task: string) => `/v1/%EF%BD%94asks/${task}`,
      'an own one before it': (task: string, own: string) => `/tasks/${own}/tasks/${task}`,
      'an own one, and it in the query': (task: string, own: string) => `/tasks/${own}?id=${task}`,
      'an own one, and a name in the query': (task: string, own: string) =>
        `/v1/tasks/${own}?name=tasks/${task}`,
      'an own one, and an escaped name in the query': (task: string, own: string) =>
        `/v1/tasks/${own}?task%255Fid=${task}`,
      'an own one, and a second question mark': (task: string, own: string) =>
        `/v1/tasks/${own}?a=1?taskId=${task}`,
      'another depth': (task: string) => `/a/b/c/d/tasks/${task}`,
      'another case of the id': (task: string) => `/v1/tasks/${task.toUpperCase()}`,
      'a method as a path': (task: string) => `/a2a.v1.A2AService/GetTask?id=${task}`,
    }).map(([way, pathOf]) => [
      `in a path with ${way}`,
      ({ task }: Created, own: Created): Draft => ({
        ...{ to: 'echo', method: 'GET', body: null, path: pathOf(task, own.task) },
      }),
    ]),
  ),
  'by cancelling with a dot behind the word': ({ task }) => ({
    ...{ to: 'echo', path: `/v1/tasks./${task}:cancel` },
  }),
  'by cancelling an own one, with it in the body': ({ task }, own) => ({
    ...{ to: 'echo', path: `/v1/tasks/${own.task}:cancel`, body: JSON.stringify({ id: task }) },
  }),
  'by cancelling an own one, with its name in the body': ({ task }, own) => ({
    ...{ to: 'echo', path: `/v1/tasks/${own.task}:cancel` },
    body: JSON.stringify({ name: `tasks/${task}` }),
  }),
  ...Object.fromEntries(
    ['message:send.', 'message:send%20', 'message:send;x=1', 'message:send/'].map((word) => [
      `by sending to ${word}`,
      ({ task }: Created): Draft => ({
        ...{ to: 'echo', path: `/v1/${word}`, body: JSON.stringify({ message: { taskId: task } }) },
      }),
    ]),
  ),
  ...Object.fromEntries(
    ['GetTask', 'CancelTask', 'SubscribeToTask'].map((method) => [
      `by ${method} of the service, as a path`,
      ({ task }: Created): Draft => ({
        ...{ to: 'echo', path: `/lf.a2a.v1.A2AService/${method}` },
        body: JSON.stringify({ name: `tasks/${task}` }),
      }),
    ]),
  ),
  'by sending to the service, as a path': ({ task }) => ({
    ...{ to: 'echo', path: '/lf.a2a.v1.A2AService/SendMessage' },
    body: JSON.stringify({ message: { task_id: task } }),
  }),
  ...Object.fromEntries(
    Object.entries({
      'a method with its service': (task: string) =>
        rpc('lf.a2a.v1.A2AService/GetTask', { id: task }),
      'a method with dots': (task: string) => rpc('tasks.get', { id: task }),
      'a method in another case': (task: string) => rpc('Tasks/Get', { id: task }),
      'the request in a member': (task: string) => rpc('GetTask', { request: { id: task } }),
      'the request in two members': (task: string) =>
        rpc('GetTask', { request: { params: { name: `tasks/${task}` } } }),
      'the task in a member': (task: string) => rpc('GetTask', { task: { id: task } }),
      'any other member': (task: string) => rpc('GetTask', { value: { id: task } }),
      'an own one, and it in a member': (task: string, own: string) =>
        rpc('GetTask', { id: own, request: { id: task } }),
      'an own one, and it deep down': (task: string, own: string) =>
        rpc('GetTask', { id: own, a: [{ b: { id: task } }] }),
      'metadata of the message': (task: string) =>
        rpc('SendMessage', { message: { metadata: { taskId: task } } }),
      'metadata of the parameters': (task: string) =>
        rpc('SendMessage', { message: {}, metadata: { task_id: task } }),
      'a reference that is not a list': (task: string) =>
        rpc('SendMessage', { message: { referenceTasks: { id: task } } }),
    }).map(([way, bodyOf]) => [
      `in a call with ${way}`,
      ({ task }: Created, own: Created): Draft => ({ to: 'echo', body: bodyOf(task, own.task) }),
    ]),
  ),
  'in the query of a call': ({ task }) => ({
    ...{ to: 'echo', path: `/?taskId=${task}`, ...send1({}) },
  }),
  'in the query of the service, as a path': ({ task }) => ({
    ...{ to: 'echo', method: 'GET', body: null, path: `/a2a.v1.A2AService/GetTask?name=${task}` },
  }),
  'by its conversation in a member': ({ context }) => ({
    to: 'echo',
    body: rpc('SendMessage', { message: { context: { id: context } } }),
  }),
  'in arguments of a tool': ({ task }) => ({
    ...{ to: 'echo', body: rpc('tools/call', { name: 'x', arguments: { taskId: task } }) },
  }),
  'in the news of an own task': ({ task }) => ({
    ...{ to: 'echo', body: rpc('notifications/tasks/status', { taskId: task, status: 'failed' }) },
  }),
  'in an answer to the receiver': ({ task }) => ({
    ...{ to: 'echo', headers: [['MCP-Protocol-Version', '2025-11-25']] },
    body: JSON.stringify(
      result({ _meta: { 'io.modelcontextprotocol/related-task': { taskId: task } } }),
    ),
  }),
  'in a body that is not a call': ({ task }) => ({
    ...{ to: 'echo', path: '/anything', body: JSON.stringify({ deep: [{ taskId: task }] }) },
  }),
}

const mcpThefts: Readonly<Record<string, (task: string) => Draft>> = {
  'read it': (taskId) => ({ body: rpc('tasks/get', { taskId }) }),
  'take its result': (taskId) => ({ body: rpc('tasks/result', { taskId }) }),
  'cancel it': (taskId) => ({ body: rpc('tasks/cancel', { taskId }) }),
  'answer for it': (taskId) => ({ body: rpc('tasks/update', { taskId, inputResponses: {} }) }),
  'relate to it': (taskId) => ({
    body: rpc('tools/call', {
      name: 'x',
      _meta: { 'io.modelcontextprotocol/related-task': { taskId } },
    }),
  }),
}

/** One that may call the same receivers, and does. */
async function thief(world: World, transport: Transport, name: string): Promise<Identity> {
  const identity = await world.agent(`task-${name}`, ['caller'])
  // A connector learns of a new agent by its long poll, and refuses it until then.
  await vi.waitFor(async () => {
    expect((await send(world[transport], { as: identity.credential() })).status).toBe(200)
  }, deadline)
  return identity
}

async function expectHidden(world: World, transport: Transport, draft: Draft): Promise<void> {
  const before = world.echo.reached.length
  const heard = await send(world[transport], draft)
  expect(world.echo.reached.slice(before)).toEqual([])
  // The same as for a task that never was: guessing teaches nothing.
  expectHeard(heard, transport, 'RECEIVER_UNKNOWN')
  expectOutcome(await world.explain(exchangeOf(heard)), 'RECEIVER_UNKNOWN')
}

/**
 * Refused, by whatever code: as unknown, as what readers take in two ways, or whatever the task.
 */
const stealOddly =
  (transport: Transport, way: string): Attempt =>
  async (world) => {
    const draftOf = oddThefts[way]
    if (draftOf === undefined) throw new Error(way)
    const created = await create(world, transport, 'echo')
    const as = (await thief(world, transport, 'thief')).credential()
    const own = await create(world, transport, 'echo', as)
    const before = world.echo.reached.length
    const heard = await send(world[transport], { ...draftOf(created, own), as })
    expect(world.echo.reached.slice(before)).toEqual([])
    const codes = ['RECEIVER_UNKNOWN', 'MESSAGE_MALFORMED', 'OPERATION_UNKNOWN']
    expect(codes).toContain(refusalOf(heard))
  }

const steal =
  (transport: Transport, way: string): Attempt =>
  async (world) => {
    const draftOf = thefts[way]
    if (draftOf === undefined) throw new Error(way)
    const { to = 'a2a' } = draftOf({ task: '', context: '' })
    const created = await create(world, transport, to)
    const draft = draftOf(created)
    const as = (await thief(world, transport, 'thief')).credential()
    await expectHidden(world, transport, { ...draft, as })
    // Its creator goes on as before, where it names nothing but its own.
    if (way !== 'with an own one next to it') {
      const own = await world.echo.during(answering(result({ tasks: [] })), () =>
        send(world[transport], draft),
      )
      expect(refusalOf(own)).toBeNull()
    }
  }

const stealFromMcp =
  (transport: Transport, way: string): Attempt =>
  async (world) => {
    const taskId = randomUUID()
    const told = result({ task: { taskId, status: 'working' } })
    await world.echo.during(answering(told), () =>
      send(world[transport], { to: 'mcp', body: rpc('tools/call', { name: 'x', task: {} }) }),
    )
    const draft = { to: 'mcp', ...mcpThefts[way]?.(taskId) }
    const as = (await thief(world, transport, 'thief')).credential()
    await expectHidden(world, transport, { ...draft, as })
    expect(refusalOf(await send(world[transport], draft))).toBeNull()
  }

const listed =
  (transport: Transport, { to, body }: { to: string; body: string }): Attempt =>
  async (world) => {
    const mine = await create(world, transport, 'a2a')
    const inMcp = randomUUID()
    const tool = result({ task: { taskId: inMcp, status: 'working' } })
    await world.echo.during(answering(tool), () =>
      send(world[transport], { to: 'mcp', body: rpc('tools/call', { name: 'x' }) }),
    )
    const others = { id: randomUUID(), taskId: randomUUID(), secret: 'of another' }
    const own = { ...(to === 'mcp' ? { taskId: inMcp } : { id: mine.task }), of: 'mine' }
    const all = result({ tasks: [others, own, others], totalSize: 3, nextPageToken: '' })
    const heard = await world.echo.during(answering(all), () =>
      send(world[transport], { to, body: body }),
    )
    expect(heard.status).toBe(200)
    expect(heard.body.toString()).not.toContain('of another')
    expect(heard.body.toString()).not.toContain('totalSize')
    expect(heard.body.toString()).toContain('"mine"')
    const streamed = await world.echo.during(
      streaming([`data: ${JSON.stringify(all)}\n\n`]),
      async () => {
        const stream = await openStream(world[transport], { to, body })
        const text = await stream.ended()
        stream.close()
        return text
      },
    )
    expect(streamed).toContain('"tasks"')
    expect(streamed).not.toContain('of another')
  }

const onEach = (transport: Transport) => ({
  ...Object.fromEntries(Object.keys(thefts).map((way) => [way, steal(transport, way)])),
  ...Object.fromEntries(Object.keys(oddThefts).map((way) => [way, stealOddly(transport, way)])),
  'that a response names in escapes': (async (world) => {
    const { task } = await create(world, transport, 'a2a')
    const next = randomUUID()
    const told = JSON.stringify(result({ statusUpdate: { taskId: next, status: {} } }))
    const escaped = told.replace('taskId', 't\\u0061skId').replace('"status":', '"st\\u0061tus":')
    await world.echo.during(
      (_, response) => response.end(escaped),
      () => send(world[transport], { to: 'a2a', ...send1({ taskId: task }) }),
    )
    const draft = { to: 'a2a', body: rpc('GetTask', { id: next }) }
    expect(refusalOf(await send(world[transport], draft))).toBeNull()
    const as = (await thief(world, transport, 'thief')).credential()
    await expectHidden(world, transport, { ...draft, as })
  }) satisfies Attempt,
  ...Object.fromEntries(
    Object.keys(mcpThefts).map((way) => [`in MCP: ${way}`, stealFromMcp(transport, way)]),
  ),
  'in a list of A2A': listed(transport, { to: 'a2a', body: rpc('ListTasks') }),
  'in a list under the name of a file': (async (world) => {
    const others = { tasks: [{ id: randomUUID(), secret: 'of another' }] }
    const draft = { to: 'echo', method: 'GET', body: null, path: '/static/tasks.js' } as const
    const list = await world.echo.during(answering(others), () => send(world[transport], draft))
    expect(list.body.toString()).not.toContain('of another')
    const script = await world.echo.during(
      (_, response) => {
        response.setHeader('content-type', 'text/javascript')
        response.end('export const tasks = []')
      },
      () => send(world[transport], draft),
    )
    expect(script.body.toString()).toContain('export const tasks')
  }) satisfies Attempt,
  'in a list of MCP': listed(transport, { to: 'mcp', body: rpc('tasks/list') }),
  'that a stream created': (async (world) => {
    const [task, contextId, next] = [randomUUID(), randomUUID(), randomUUID()]
    const chunks = [
      result({ kind: 'task', id: task, contextId, status: { state: 'submitted' } }),
      result({ statusUpdate: { taskId: next, contextId, status: { state: 'working' } } }),
    ].map((each) => `data: ${JSON.stringify(each)}\n\n`)
    await world.echo.during(streaming(chunks), async () => {
      const stream = await openStream(world[transport], {
        ...{ to: 'a2a', body: rpc('message/stream', { message: {} }) },
      })
      await stream.ended()
      stream.close()
    })
    const as = (await thief(world, transport, 'thief')).credential()
    for (const id of [task, next]) {
      const draft = { to: 'a2a', body: rpc('GetTask', { id }) }
      await expectHidden(world, transport, { ...draft, as })
      expect(refusalOf(await send(world[transport], draft))).toBeNull()
    }
  }) satisfies Attempt,
  'without a known creator': (async (world) => {
    const draft = { to: 'a2a', body: rpc('GetTask', { id: randomUUID() }) }
    await expectHidden(world, transport, draft)
    // Asking for it does not make it the asker's.
    await expectHidden(world, transport, draft)
  }) satisfies Attempt,
  'by claiming it in a response': (async (world) => {
    const { task } = await create(world, transport, 'a2a')
    const as = (await thief(world, transport, 'thief')).credential()
    const told = result({ task: { id: task, status: {} }, structuredContent: { taskId: task } })
    await world.echo.during(answering(told), () =>
      send(world[transport], { to: 'a2a', as, ...send1({}) }),
    )
    await expectHidden(world, transport, { to: 'a2a', as, body: rpc('GetTask', { id: task }) })
  }) satisfies Attempt,
  'by going on with its stream': (async (world) => {
    const id = randomUUID()
    const body = rpc('message/stream', { message: {} })
    await world.echo.during(streaming([`id: ${id}\ndata: {"a":1}\n\n`]), async () => {
      const stream = await openStream(world[transport], { to: 'a2a', body })
      await stream.ended()
      stream.close()
    })
    const draft = {
      to: 'echo',
      method: 'GET',
      body: null,
      headers: [['Last-Event-ID', id]] as const,
    }
    const as = (await thief(world, transport, 'thief')).credential()
    await expectHidden(world, transport, { ...draft, as })
  }) satisfies Attempt,
})

attack(
  verifies(['authorize:task-owner'], 'a task is its creator’s, by whatever name it is asked for'),
  {
    gateway: {
      ...onEach('gateway'),
      'unless policy permits it, and only for as long as it does': async (world) => {
        const { task } = await create(world, 'gateway', 'a2a')
        const reader = await thief(world, 'gateway', 'supervisor')
        const permit = (owner: string) =>
          world.admin('policy.put', {
            name: 'supervisor.cedar',
            text: `permit(principal == Agent::"task-supervisor", action == Action::"administer",
resource == Agent::"a2a") when { context.taskOwner == "${owner}" };`,
          })
        const draft = { to: 'a2a', as: reader.credential(), body: rpc('GetTask', { id: task }) }
        await permit('someone-else')
        await expectHidden(world, 'gateway', draft)
        await permit('caller')
        expect((await send(world.gateway, draft)).status).toBe(200)
        const heard = await world.echo.during(
          (_, response) => {
            permit('someone-else')
              .then(() => response.end('{"secret":1}'))
              .catch(() => response.destroy())
          },
          () => send(world.gateway, draft),
        )
        expectHeard(heard, 'gateway', 'WITHDRAWN')
      },
    },
    mesh: onEach('mesh'),
    queue: 'sealed messages carry no tasks that the fabric could read',
  },
)
