import { randomBytes, randomUUID } from 'node:crypto'
import { expect, vi } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { type Draft, refusalOf, send } from '../harness/doors.ts'
import { answering } from '../harness/echo.ts'
import { openStream, streaming } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Transport = 'gateway' | 'mesh'
type Credential = NonNullable<Draft['as']>

const get = (path: string): Draft => ({ method: 'GET', body: null, path })
const json = (body: unknown, path = '/anything'): Draft => ({ path, body: JSON.stringify(body) })
const form = (body: string): Draft => ({
  ...{ path: '/anything', body, contentType: 'application/x-www-form-urlencoded' },
})
const text = (body: string): Draft => ({ path: '/anything', body, contentType: 'text/plain' })
const call = (method: string, params: object, more: object = {}) =>
  json({ jsonrpc: '2.0', id: 1, method, params, ...more }, '/')

interface Victim {
  readonly task: string
  readonly context: string
  readonly event: string
  readonly session: string
  /** A task of the agent that makes the request. */
  readonly own: string
}

/** Requests in which some receiver finds a reference to something of another agent. */
const fields: Readonly<Record<string, (victim: Victim) => Draft>> = {
  'a list in the query': ({ own, task }) => get(`/tasks/${own}?taskId[]=${task}`),
  'a place of a list in the query': ({ own, task }) => get(`/tasks/${own}?taskId[0]=${task}`),
  'a name with a dot': ({ own, task }) => get(`/tasks/${own}?task.id=${task}`),
  'a name with a hyphen': ({ own, task }) => get(`/tasks/${own}?task-id=${task}`),
  'a name in brackets': ({ own, task }) => get(`/tasks/${own}?task[id]=${task}`),
  'an id in a list': ({ own, task }) => get(`/tasks/${own}?id[]=${task}`),
  'brackets in escapes': ({ own, task }) => get(`/tasks/${own}?id%5B%5D=${task}`),
  'a semicolon': ({ own, task }) => get(`/tasks/${own}?x=1;id=${task}`),
  'a semicolon in an escape': ({ own, task }) => get(`/tasks/${own}?x=1%3Bid=${task}`),
  'an ampersand in an escape': ({ own, task }) => get(`/tasks/${own}?x=1%26id=${task}`),
  'an equals sign in an escape': ({ own, task }) => get(`/tasks/${own}?id%3D${task}`),
  'a blank before the name': ({ own, task }) => get(`/tasks/${own}?+taskId=${task}`),
  'a repeated parameter': ({ own, task }) => get(`/tasks/${own}?taskId=${own}&taskId=${task}`),
  'another path, after a semicolon': ({ task }) => get(`/x?x=1;taskId=${task}`),
  'another path, in capitals': ({ task }) => get(`/x?TASK_ID=${task}`),
  'another path, escaped twice': ({ task }) => get(`/x?%2574askId=${task}`),
  'another path, with an escaped value': ({ task }) =>
    get(`/x?taskId=%25${task.charCodeAt(0).toString(16)}${task.slice(1)}`),
  'a parameter of the path': ({ task }) => get(`/x;taskId=${task}/y`),
  'a segment of the path': ({ task }) => get(`/task/${task}`),
  'a segment with a verb': ({ own, task }) => get(`/tasks/${own}/contexts/x/taskId/${task}`),
  'a key in parentheses': ({ task }) => get(`/tasks('${task}')`),
  'a format': ({ task }) => get(`/tasks/${task}.json`),
  'a message, in a list': ({ context }) => json({}, `/message:send?contextId[]=${context}`),
  'a message, in brackets': ({ task }) => json({}, `/message:send?message[taskId]=${task}`),
  'a message, after a semicolon': ({ context }) =>
    json({}, `/message:send?x=1;contextId=${context}`),
  'a list of tasks': ({ context }) => get(`/tasks?contextId[]=${context}`),
  'a member next to the parameters': ({ own, task }) =>
    call('GetTask', { id: own }, { taskId: task }),
  'a record next to the parameters': ({ own, task }) =>
    call('GetTask', { id: own }, { task: { id: task } }),
  'a message next to the parameters': ({ context }) =>
    call('SendMessage', { message: {} }, { message: { contextId: context } }),
  'a conversation next to the parameters': ({ context }) =>
    call('SendMessage', { message: {} }, { contextId: context }),
  'a member with a path for a name': ({ task }) =>
    call('SendMessage', { message: {}, 'message.taskId': task }),
  'a member with brackets in its name': ({ task }) => json({ 'task[id]': task }),
  'a member with a hyphen': ({ task }) => json({ deep: [{ 'task-id': task }] }),
  'a list of lists': ({ task }) => json({ deep: { tasks: [[task]] } }),
  'a record by ids': ({ task }) => json({ tasks: { [task]: true } }),
  'a name that holds the id': ({ task }) => get(`/x?taskId[${task}]=1`),
  'a list in one value of the query': ({ own, task }) => get(`/x?taskIds=${own},${task}`),
  'a list in one value of a body': ({ own, task }) => json({ taskIds: `${own} ${task}` }),
  'the name of a resource': ({ task }) => json({ task: { name: `tenants/a/tasks/${task}/x` } }),
  'a document in the query': ({ task }) => get(`/x?input=%7B%22taskId%22:%22${task}%22%7D`),
  'a filter in the query': ({ task }) => get(`/x?filter=taskId:${task}`),
  'a mirrored parameter': ({ task }) => ({
    ...call('tools/call', { name: 'x' }),
    headers: [['Mcp-Param-Task-Id', task]],
  }),
  'an encoded mirrored parameter': ({ task }) => ({
    ...call('tools/call', { name: 'x' }),
    headers: [['Mcp-Param-TaskId', `=?base64?${Buffer.from(task).toString('base64')}?=`]],
  }),
  'another key in parentheses': ({ task }) => get(`/Task(${task})`),
  'a form': ({ task }) => form(`a=1&taskId=${task}`),
  'a form after a semicolon': ({ task }) => form(`a=1;task[id]=${task}`),
  'a form with escapes': ({ context }) => form(`%63ontextId=${context}`),
  'JSON under another type': ({ task }) => text(`{"a":{"taskId": "${task}"}}`),
  'a record of JSON under another type': ({ task }) => text(`{'task': {'id': '${task}'}}`),
  YAML: ({ context }) => text(`a:\n  context_id: ${context}\n`),
  XML: ({ task }) => text(`<a><taskId>${task}</taskId></a>`),
  'escapes under another type': ({ task }) => text(`{"\\u0074askId":"${task}"}`),
  'the event, in a list': ({ event }) => get(`/?lastEventId[]=${event}`),
  'the event, after a semicolon': ({ event }) => get(`/?a=1;lastEventId=${event}`),
  'the event, after a blank': ({ event }) => get(`/?+lastEventId=${event}`),
  'the event, in snake case': ({ event }) => get(`/?last_event_id=${event}`),
  'the event, by a longer name': ({ event }) => get(`/?evs_last_event_id=${event}`),
  'the event, in brackets': ({ event }) => get(`/?last[event][id]=${event}`),
  'the event, in a body': ({ event }) => json({ lastEventId: event }),
  'the event, deep in a body': ({ event }) => json({ a: [{ 'Last-Event-ID': event }] }),
  'the event, in a form': ({ event }) => form(`lastEventId=${event}`),
  'a document in a string': ({ task }) => json({ input: nested({ taskId: task }) }),
  'a record of a document in a string': ({ task }) =>
    json({ input: nested({ task: { id: task } }) }),
  'a form in a string': ({ task }) => json({ input: `a=1&taskId=${task}` }),
  'XML in a string': ({ context }) => json({ input: `<contextId>${context}</contextId>` }),
  'a document in a string, twice': ({ task }) =>
    json({ input: nested({ input: nested({ taskId: task }) }) }),
  'parameters in a string': ({ task }) =>
    json({ jsonrpc: '2.0', id: 1, method: 'GetTask', params: nested({ id: task }) }, '/'),
  'metadata in a string': ({ task }) =>
    call('tools/call', { name: 'x', _meta: nested({ 'related-task': { taskId: task } }) }),
  'a document in a text part': ({ context }) => said(nested({ contextId: context })),
  'the session, in the query': ({ session }) => json({}, `/messages?sessionId=${session}`),
  'the session, by its header’s name': ({ session }) => json({}, `/?mcp-session-id=${session}`),
  'the session, in a body': ({ session }) => json({ meta: { session_id: session } }),
  'the session, in the path': ({ session }) => json({}, `/messages/${session}`),
}

const nested = (value: object): string => JSON.stringify(value)
const escaped = (id: string): string =>
  id.replace(/^./, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)
const said = (words: string) =>
  call('SendMessage', { message: { role: 'user', parts: [{ text: words }] } })

/** Requests that carry an id under no name, or where names do not decide: by its length alone. */
const anywhere: Readonly<Record<string, (victim: Victim) => Draft>> = {
  'any member': ({ task }) => json({ parent: task }),
  'any member, a conversation': ({ context }) => json({ deep: [{ parent: context }] }),
  'any member, a session': ({ session }) => json({ parent: session }),
  'the name of any member': ({ task }) => json({ parents: { [task]: 1 } }),
  'a list': ({ own, task }) => json({ parents: [[own, task]] }),
  'an argument of a tool': ({ task }) =>
    call('tools/call', { name: 'x', arguments: { parent: task } }),
  'metadata of a message': ({ context }) =>
    call('SendMessage', { message: { metadata: { parent: context } } }),
  'a document in a string': ({ task }) => json({ input: nested({ parent: task }) }),
  'a document in a string of a document in a string': ({ task }) =>
    json({ input: nested({ input: nested({ parent: task }) }) }),
  'a line of a document in a string': ({ task }) => json({ input: nested({ a: `x\n${task}` }) }),
  'a text part': ({ task }) => said(`go on with tasks/${task}, please`),
  'a text part that is a document': ({ task }) => said(nested({ parent: task })),
  'another case': ({ task }) => json({ parent: task.toUpperCase() }),
  'a UUID without hyphens': ({ task }) => json({ parent: task.replaceAll('-', '') }),
  'a UUID as a name': ({ task }) => json({ parent: `urn:uuid:${task}` }),
  'a UUID in braces': ({ task }) => json({ parent: `{${task}}` }),
  'the end of an address': ({ task }) => json({ href: `https://a.example/x/${task}?y=1` }),
  'an escape in JSON': ({ task }) => ({
    path: '/anything',
    body: `{"parent":"${escaped(task)}"}`,
  }),
  'an escape in a document in a string': ({ task }) =>
    json({ input: `{"parent":"${escaped(task)}"}` }),
  'a percent sign in a string': ({ task }) =>
    json({ input: `parent=%${task.charCodeAt(0).toString(16)}${task.slice(1)}` }),
  'a large body': ({ task }) => json({ filler: 'x y '.repeat(9_000), parent: task }),
  'a form': ({ task }) => form(`a=1&parent=${task}`),
  'a form with escapes': ({ task }) =>
    form(`parent=%${task.charCodeAt(0).toString(16)}${task.slice(1)}`),
  'text of another type': ({ task }) => text(`parent: ${task}\n`),
  'escapes in text of another type': ({ task }) => text(`{'parent': '${escaped(task)}'}`),
  XML: ({ context }) => text(`<parent>${context}</parent>`),
  'any mirrored parameter': ({ task }) => ({
    ...call('tools/call', { name: 'x' }),
    headers: [['Mcp-Param-Parent', task]],
  }),
}

/** Requests that carry an id of many digits as a number, which a reader with 53 bits rounds. */
const asNumber: Readonly<Record<string, (victim: Victim) => Draft>> = Object.fromEntries(
  [
    ...['{"parent":#}', '{"task":#}', '{"taskRef":#}', '{"tasks":[#]}', '{"data":{"taskId":#}}'],
    ...[
      '{"tasks":{"a":#}}',
      '{"task":{"id":#}}',
      '{"id":-#}',
      '[#]',
      '{"taskId":#.0}',
      '{"taskId":#0e-1}',
    ],
    '{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":#}}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":#}}}',
  ].map((body) => [body, ({ task }) => ({ path: '/', body: body.replace('#', task) })]),
)

/** Requests with such ids that are unknown to all other callers, and ordinary queries. */
const harmless: Readonly<Record<string, (own: string) => Draft>> = {
  'brackets in a query': () => get('/x?filter[name]=a&ids[]=5&page[size]=10&sort=-date;asc'),
  'an unknown task in a query': () => get('/x?taskId=never-heard-of&contextId=5'),
  'an unknown task in a body': () => json({ task: { id: 'never-heard-of' }, sessionId: 'abc' }),
  'an unknown event in a body': () => json({ lastEventId: '17', events: [{ eventId: 1 }] }),
  'records below such names': () =>
    json({ context: Object.fromEntries(Array.from({ length: 99 }, (_, i) => [`k${i}`, i])) }),
  'a mirrored parameter': () => ({
    ...call('tools/call', { name: 'x', arguments: { taskId: 'unknown' } }),
    headers: [['Mcp-Param-TaskId', 'unknown']],
  }),
  'prose about tasks': () => text('The task: write down the context, session: none. '.repeat(999)),
  'a form': () => form('taskId=never-heard-of&sessionId=a+b;c=%26'),
  'an own task': (own) => get(`/tasks/${own}?historyLength=9`),
  'an own task in a call': (own) => call('GetTask', { id: own, historyLength: 9 }),
  'an own task anywhere': (own) => json({ parent: { taskId: own } }),
  'a message with metadata': () =>
    call('SendMessage', { message: { metadata: { sessionId: 'x', tasks: [1, 2] } } }),
  'other ids of that form': () => json({ ids: Array.from({ length: 900 }, () => randomUUID()) }),
  'other ids of that form in text': () =>
    text(Array.from({ length: 900 }, () => randomUUID()).join('\n')),
  'an own task under no name': (own) => json({ parent: own, input: nested({ parent: own }) }),
  'a word that begins like an own task': (own) => said(`${own}-2 and ${own}x`),
  'a long path': () => get('/reports/quarterly-overview-of-2026/annual?x=a_b_c_d_e_f_g_h_i'),
}

/** Short ones, so that names decide, or those that are recognised by their length. */
const newIds = {
  short: () => `i${randomBytes(4).toString('hex')}`,
  long: () => randomUUID(),
  /** Fewer than sixteen letters without its hyphens. */
  hyphens: () => letters(14).replaceAll(/.{4}/g, '$&-'),
  /** Shorter, and no word of prose. */
  number: () => `inv-2026-${String(randomBytes(3).readUIntBE(0, 3)).padStart(8, '0')}`.slice(0, 15),
  /** Of letters that are not ASCII, too. */
  accent: () => `tâche${letters(14)}`,
  /** The neighbours of which a double is the same. */
  digits: () => `9${String(randomBytes(8).readBigUInt64BE()).padStart(20, '0')}7`,
} as const

const letters = (count: number): string =>
  Array.from(randomBytes(count), (byte) => String.fromCharCode(0x61 + (byte % 26))).join('')

/** The forms in which any id is written, apart from UUIDs. */
const { 'a UUID without hyphens': _uuid, ...saying } = anywhere
const quoted: typeof anywhere = {
  ...saying,
  'a backslash without meaning': ({ task }) => text(`parent: "${backslashed(task)}"`),
  'a backslash without meaning, in a string': ({ task }) =>
    json({ input: `"${backslashed(task)}"` }),
}
/** In fields of requests and in percent signs only ASCII stands. */
const { 'any mirrored parameter': _field, 'a percent sign in a string': _sign, ...texts } = quoted
const { 'a form with escapes': _escape, ...inBodies } = texts

/** Before the first letter behind the first three that no notation changes behind it. */
const backslashed = (id: string): string => id.replace(/(?<=^.{3,})(?=[c-egh-mo-qswyz-])/, '\\')

async function createTask(
  world: World,
  transport: Transport,
  { as, task, context }: { as: Credential; task: string; context: string },
): Promise<void> {
  const answer = { task: { id: task, contextId: context, status: { state: 'x' } } }
  const sent = await world.echo.during(answering({ jsonrpc: '2.0', id: 1, result: answer }), () =>
    send(world[transport], { as, ...call('SendMessage', { message: { messageId: '1' } }) }),
  )
  expect(refusalOf(sent)).toBeNull()
}

async function prepare(
  world: World,
  transport: Transport,
  newId: () => string,
): Promise<{ victim: Victim; as: Credential }> {
  const as = (await world.agent('field-thief', ['caller'])).credential()
  await vi.waitFor(async () => {
    expect((await send(world[transport], { as })).status).toBe(200)
  }, deadline)
  const victim: Victim = {
    ...{ task: newId(), context: newId(), event: newId(), own: newId() },
    session: randomBytes(16).toString('hex'),
  }
  const caller = world.caller.credential()
  await createTask(world, transport, { as: caller, ...victim })
  await createTask(world, transport, { as, task: victim.own, context: newId() })
  await world.echo.during(streaming([`id: ${victim.event}\ndata: {"a":1}\n\n`]), async () => {
    const stream = await openStream(world[transport], call('message/stream', { message: {} }))
    await stream.ended()
    stream.close()
  })
  await world.echo.during(answering({}, { 'mcp-session-id': victim.session }), () =>
    send(world[transport], call('initialize', {})),
  )
  return { victim, as }
}

const refused =
  (transport: Transport, newId: () => string, requests = fields): Attempt =>
  async (world) => {
    const { victim, as } = await prepare(world, transport, newId)
    const passed: string[] = []
    for (const [place, draftOf] of Object.entries(requests)) {
      const before = world.echo.reached.length
      const answer = await send(world[transport], { ...draftOf(victim), as })
      const hasReached = world.echo.reached.length > before
      if (hasReached || refusalOf(answer) === null) passed.push(place)
    }
    expect(passed).toEqual([])
  }

const passes =
  (transport: Transport): Attempt =>
  async (world) => {
    const { victim, as } = await prepare(world, transport, newIds.long)
    for (const [place, draftOf] of Object.entries(harmless)) {
      const answer = await send(world[transport], { ...draftOf(victim.own), as })
      expect({ place, refusal: refusalOf(answer) }).toEqual({ place, refusal: null })
    }
  }

const onEach = (transport: Transport) => ({
  'a short id': refused(transport, newIds.short),
  'a long id': refused(transport, newIds.long),
  'a long id under no name': refused(transport, newIds.long, anywhere),
  'an id of many hyphens': refused(transport, newIds.hyphens, quoted),
  'an id with a number': refused(transport, newIds.number, quoted),
  'an id with an accent': refused(transport, newIds.accent, inBodies),
  'an id that is a number': refused(transport, newIds.digits, asNumber),
  'ordinary requests pass': passes(transport),
})

attack(
  verifies(['authorize:task-owner'], 'a reference to something of another is found in any field'),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'sealed messages carry no fields that the fabric could read',
  },
)
