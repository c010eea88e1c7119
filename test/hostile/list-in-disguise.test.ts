import { randomUUID } from 'node:crypto'
import { expect, vi } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { refusalOf, send } from '../harness/doors.ts'
import { answering } from '../harness/echo.ts'
import { openStream, streaming } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Transport = 'gateway' | 'mesh'

interface Task {
  readonly id: string
  readonly secret?: string
}

/** Answers to a question for a list, which show tasks of others where these are not looked for. */
const forms: Readonly<Record<string, (own: Task, others: Task) => object>> = {
  'a result next to an error that is null': (_, others) => ({ error: null, result: [others] }),
  'items next to an error that is null': (_, others) => ({
    error: null,
    result: { items: [others] },
  }),
  'a result next to an error': (_, others) => ({ error: { code: 1 }, result: { items: [others] } }),
  'a result of a notification': (_, others) => ({ method: 'x', Result: [others] }),
  'the data of an error': (_, others) => ({ error: { code: 1, message: '', data: [others] } }),
  'the parameters of a notification': (_, others) => ({ method: 'x', params: { items: [others] } }),
  'a list in a task of one’s own': (own, others) => ({
    result: { tasks: [{ ...own, tasks: [others] }] },
  }),
  'a list deep in a task of one’s own': (own, others) => ({
    result: { tasks: [{ ...own, metadata: [{ page: { Tasks: [others] } }] }] },
  }),
  'items next to an empty list': (_, others) => ({
    result: { tasks: [], items: [others], total: 7 },
  }),
  'a record next to an empty list': (_, others) => ({ result: { tasks: [], last: others } }),
  'a record in lists next to one': (_, others) => ({
    result: { tasks: [] },
    more: [[{ x: others }]],
  }),
  'the id of a task next to one': (_, { id, secret }) => ({
    result: { tasks: [], more: [{ taskId: id, secret }] },
  }),
  'the name of a task next to one': (_, { id, secret }) => ({
    result: { tasks: [], more: [{ name: `tasks/${id}`, secret }] },
  }),
  'the list itself': (_, others) => ({ result: [others] }),
}

/** Only a record that is known to be another's can be distinguished from the application's own. */
const knownForms: typeof forms = {
  'a record under its id': (_, { id, secret }) => ({
    result: { tasks: [], byId: { [id]: { secret } } },
  }),
  'a record in a task of one’s own': (own, others) => ({
    result: { tasks: [{ ...own, last: others }] },
  }),
  'items in a task of one’s own': (own, others) => ({
    result: { tasks: [{ ...own, items: [others] }] },
  }),
  'the answer itself': (_, others) => ({ ...others, tasks: [] }),
}

const rpc = (method: string, params: object = {}) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })

async function create(world: World, transport: Transport, as = world.caller): Promise<string> {
  const id = randomUUID()
  const told = { jsonrpc: '2.0', id: 1, result: { task: { id, status: { state: 'working' } } } }
  const draft = { to: 'a2a', as: as.credential(), body: rpc('SendMessage', { message: {} }) }
  // A connector learns of a new agent by its long poll, and refuses it until then.
  await world.echo.during(answering(told), () =>
    vi.waitFor(
      async () => expect((await send(world[transport], draft)).status).toBe(200),
      deadline,
    ),
  )
  return id
}

const told =
  (transport: Transport, form: string, isKnown: boolean): Attempt =>
  async (world) => {
    const shape = forms[form] ?? knownForms[form]
    if (shape === undefined) throw new Error(form)
    const own = { id: await create(world, transport) }
    const owner = await world.agent('list-owner', ['caller'])
    const id = isKnown ? await create(world, transport, owner) : randomUUID()
    const others = { id, secret: 'of another' }
    const body = { jsonrpc: '2.0', id: 1, ...shape(own, others) }
    const draft = { to: 'a2a', body: rpc('ListTasks') }
    const heard = await world.echo.during(answering(body), () => send(world[transport], draft))
    expect(['RESPONSE_REJECTED', null]).toContain(refusalOf(heard))
    expect(heard.body.toString()).not.toContain('of another')
    const failing = await world.echo.during(
      (_, response) => {
        response.writeHead(400, { 'content-type': 'application/json' })
        response.end(JSON.stringify(body))
      },
      () => send(world[transport], draft),
    )
    expect(failing.body.toString()).not.toContain('of another')
    const chunk = `data: ${JSON.stringify(body)}\n\n`
    const streamed = await world.echo.during(streaming([chunk]), async () => {
      const stream = await openStream(world[transport], draft)
      const text = await stream.ended()
      stream.close()
      return text
    })
    expect(streamed).not.toContain('of another')
    // A refusal of ours in the middle of a stream is not a fault of the receiver's.
    const [, exchange = ''] = /countersign-exchange: (\S+)/.exec(streamed) ?? []
    const closing = (await world.explain(exchange)).at(-1)?.facts
    expect(closing?.['result']).toBe(closing?.['code'] === undefined ? 'completed' : 'cut')
  }

const onEach = (transport: Transport) =>
  Object.fromEntries([
    ...Object.keys(forms).map((form) => [form, told(transport, form, false)]),
    ...Object.keys({ ...forms, ...knownForms }).map((form) => [
      `${form}, known to be another’s`,
      told(transport, form, true),
    ]),
  ])

attack(verifies(['authorize:task-owner'], 'a list shows no task of others, whatever form it has'), {
  gateway: onEach('gateway'),
  mesh: onEach('mesh'),
  queue: 'sealed messages carry no tasks that the fabric could read',
})
