import { utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { BodyThread } from '../../transports/http/body-thread.ts'
import { cardMediator } from './agent-card.ts'
import { taskReaders } from './task-reader.ts'

const json = (value: unknown) => utf8(JSON.stringify(value))

test('a list keeps the tasks that are named as owned, and nothing else of it changes', () => {
  const body = json({
    result: { tasks: [{ id: 'a' }, { id: 'b' }, {}], pageSize: 3, totalSize: 9 },
  })
  expect(taskReaders.listedIn(body)).toEqual(['task a', 'task b'])
  const filtered = taskReaders.filtered(body, ['task b'])
  if (filtered instanceof Refusal) throw new Error(filtered.detail)
  expect(JSON.parse(Buffer.from(filtered).toString())).toEqual({
    result: { tasks: [{ id: 'b' }], pageSize: 3 },
  })
})

test('a list next to the result, or below it, is filtered as well', () => {
  const tasks = [{ id: 'a' }, { id: 'b' }]
  const body = json({ result: { tasks, page: [{ tasks, totalSize: 2 }] }, tasks, Tasks: null })
  expect(taskReaders.listedIn(body)).toEqual(['task a', 'task b'])
  const filtered = taskReaders.filtered(body, ['task b'])
  if (filtered instanceof Refusal) throw new Error(filtered.detail)
  const own = [{ id: 'b' }]
  expect(JSON.parse(Buffer.from(filtered).toString())).toEqual({
    result: { tasks: own, page: [{ tasks: own }] },
    tasks: own,
    Tasks: [],
  })
})

test.each([
  { tasks: { a: { id: 'a' } } },
  { tasks: '[{"id":"a"}]' },
  { result: { tasks: [] }, tasks: { id: 'a' } },
  { error: {}, tasks: { id: 'a' } },
])('tasks in another form than a list are refused: %j', (value) => {
  expect(taskReaders.filtered(json(value), [])).toMatchObject({ code: 'RESPONSE_REJECTED' })
})

test('around lists, and in kept tasks, what names a task of another goes', () => {
  const own = { id: 'a', data: { id: 'todo', name: 'x' }, history: [{ taskId: 'a' }] }
  const body = json({
    ...{ jsonrpc: '2.0', id: 1, items: [{ id: 'b' }, { x: 1 }], deep: { y: { taskIds: ['b'] } } },
    result: { tasks: [{ ...own, tasks: [{ id: 'b' }, { id: 'a' }], of: [{ taskId: 'b' }] }] },
    ...{ _meta: { name: 'server' }, named: { name: 'tasks/b' }, 'another-one-of-16': {} },
  })
  const listed = taskReaders.listedIn(body)
  if (listed instanceof Refusal) throw new Error(listed.detail)
  expect(new Set(listed)).toEqual(
    new Set(['task a', 'task b', '~task a', '~task b', '~task todo', '~task another-one-of-16']),
  )
  const filtered = taskReaders.filtered(body, ['task a', '~task a', '~task todo'])
  if (filtered instanceof Refusal) throw new Error(filtered.detail)
  expect(JSON.parse(Buffer.from(filtered).toString())).toEqual({
    ...{ jsonrpc: '2.0', id: 1, items: [{ x: 1 }], deep: {} },
    result: { tasks: [{ ...own, tasks: [{ id: 'a' }], of: [] }] },
    _meta: { name: 'server' },
  })
})

test.each([
  { error: null, result: [{ id: 'a' }] },
  { error: {}, result: [{ id: 'a' }] },
  { error: 'no', items: [{ id: 'a' }] },
  { method: 'x', Result: { items: [] } },
  { id: 'another-one-of-16', tasks: [] },
])(
  'a body that only looks like an error, or like the answer to a call, is refused: %j',
  (value) => {
    expect(taskReaders.filtered(json(value), [])).toMatchObject({ code: 'RESPONSE_REJECTED' })
  },
)

test('an answer with the status of an error passes in any form, without tasks of others', () => {
  for (const body of [utf8('no JSON'), utf8('{"a":1,"a":1}'), json({ title: 'x', status: 404 })]) {
    expect(taskReaders.filteredError(body, [])).toBe(body)
  }
  const body = json({ tasks: [{ id: 'a' }], items: [{ id: 'a' }] })
  expect(Buffer.from(taskReaders.filteredError(body, []) as Uint8Array).toString()).toBe(
    '{"tasks":[],"items":[]}',
  )
})

test('a body that is not a list is refused where one is expected, except an error', () => {
  const error = json({ error: { code: -32_001 } })
  expect(taskReaders.filtered(error, [])).toBe(error)
  for (const body of [utf8('{"tasks":[],"tasks":[]}'), utf8('no JSON'), json({ result: {} })]) {
    expect(taskReaders.filtered(body, [])).toMatchObject({ code: 'RESPONSE_REJECTED' })
  }
})

test('answers that are not small are read in a thread, small ones at once', async () => {
  const start = vi.fn(() => {
    throw new Error('no thread for small answers')
  })
  const { tasks } = new BodyThread({ heapBytes: 1, start, now: () => 0 })
  const small = json({ result: { kind: 'task', id: 'a' } })
  const account = { name: 'a', caller: 'b', isAnswer: true }
  expect(tasks.createdIn(small, account)).toEqual(['task a'])
  const large = json({ text: 'taskId'.repeat(2_000) })
  for (const question of ['createdIn', 'listedIn'] as const) {
    const detail = expect.stringContaining('no thread for small answers')
    expect(await tasks[question](large, account)).toMatchObject({ code: 'UNDECIDED', detail })
  }
})

test('an agent card is bounded in bytes and interfaces', () => {
  const mediate = cardMediator('GetAgentCard', 200)
  const mediation = {
    baseUrl: 'https://fabric.example/agents/a',
    upstreamUrls: ['https://a.example'],
    protocol: 'auto',
    signer: { keyId: 'k', sign: () => new Uint8Array(64) },
    credentialsRequired: true,
  } as const
  const limitOf = (card: unknown) => {
    const answer = mediate?.(json(card), mediation)
    return answer instanceof Refusal ? answer.limit : null
  }
  const one = { url: 'https://a.example/rpc', protocolBinding: 'JSONRPC' }
  expect(limitOf({ name: 'a', supportedInterfaces: Array(64).fill(one) })).toBe(null)
  expect(limitOf({ name: 'a', supportedInterfaces: Array(65).fill(one) })).toBe(
    'cards.interfaces, 64',
  )
  expect(limitOf({ name: 'a'.repeat(65_536) })).toBe('cards.bytes, 64 KiB')
})

/** `task`, `_task`, `t_ask`, `t__ask` …: to a lax reader, each is the same name. */
function spellings(count: number): readonly string[] {
  const marks = (at: number, place: number) => '_'.repeat(Math.floor(at / 9 ** place) % 9)
  return Array.from({ length: count }, (_, at) =>
    Array.from('task', (letter, place) => `${marks(at, place)}${letter}`).join(''),
  )
}

const limitOf = (read: unknown) => (read instanceof Refusal ? read.limit : null)

test('the ids that one answer creates are bounded, by whatever names it states them', () => {
  const created = (records: number, ids: number) =>
    taskReaders.createdIn(
      json({
        result: Object.fromEntries(
          spellings(records).map((name, at) => [
            name,
            { taskIds: Array.from({ length: ids }, (_, one) => `${at}-${one}`) },
          ]),
        ),
      }),
    )
  expect(created(1, 64)).toHaveLength(64)
  expect(created(64, 1)).toHaveLength(64)
  for (const read of [created(1, 65), created(65, 1), created(3_000, 64)]) {
    expect(read).toMatchObject({ code: 'RESPONSE_REJECTED', limit: 'tasks.created, 64' })
  }
  // Each counts once, by whatever name.
  const task = { id: 'a', contextId: 'b', status: {} }
  const same = Object.fromEntries(spellings(1_000).map((name) => [name, task]))
  expect(taskReaders.createdIn(json(same))).toEqual(['task a', 'context b'])
})

test('the ids that one answer lists are bounded, each counted once', () => {
  const history = Array.from({ length: 30 }, (_, at) => ({ messageId: `m${at}`, taskId: 't' }))
  const page = (count: number, more: object = {}) =>
    json({ tasks: Array.from({ length: count }, (_, at) => ({ id: `t${at}`, ...more })) })
  expect(taskReaders.listedIn(page(1_000, { history }))).toHaveLength(1_001)
  expect(taskReaders.listedIn(page(10_000))).toHaveLength(10_000)
  expect(limitOf(taskReaders.listedIn(page(10_001)))).toBe('tasks.listed, 10000')
  const named = Object.fromEntries(
    Array.from({ length: 10_001 }, (_, at) => [`a-name-like-an-id-${at}`, 1]),
  )
  expect(limitOf(taskReaders.listedIn(json({ tasks: [{ id: 't', named }] })))).not.toBe(null)
})

test('an id is listed and kept in whatever case and form it is written', () => {
  const id = '0e1A2b3c-4d5e-4f60-8172-93a4b5c6d7e8'
  const body = json({ tasks: [{ id }, { id: id.toUpperCase() }, { id: 'x' }] })
  const listed = taskReaders.listedIn(body)
  expect(listed).toEqual(['task 0e1a2b3c4d5e4f60817293a4b5c6d7e8', 'task x'])
  const kept = taskReaders.filtered(body, ['task 0e1a2b3c4d5e4f60817293a4b5c6d7e8'])
  expect(JSON.parse(textOf(kept))).toEqual({ tasks: [{ id }, { id: id.toUpperCase() }] })
})

test('an id that is a number is taken digit by digit, not as a double rounds it', () => {
  const id = '123456789012345678'
  const created = utf8(`{"result":{"task":{"id":${id},"status":{"state":"x"}},"at":1.5e300}}`)
  expect(taskReaders.createdIn(created)).toEqual([`task ${id}`])
  expect(taskReaders.listedIn(utf8(`{"result":{"tasks":[{"id":${id}}]}}`))).toEqual([`task ${id}`])
})

function textOf(filtered: Uint8Array | Refusal): string {
  if (filtered instanceof Refusal) throw new Error(filtered.detail)
  return Buffer.from(filtered).toString()
}

test('the part of a list that stays is as its receiver wrote it, digit by digit', () => {
  const kept = String.raw`{ "id" : "a\u0062", "n": [12345678901234567890, 1.10, -0.0, 1E2, 0.1000000000000000055] }`
  const other = '{"id":"c","n":12345678901234567890}'
  const body = (tasks: string, more = '') =>
    utf8(`{"result": {"tasks" : [${tasks}], "page":98765432109876543210${more}}}`)
  const own = ['task ab']
  const filtered = Buffer.from(body(kept)).toString()
  for (const tasks of [`${other},${kept}`, `${kept},${other}`, `${other},${kept},${other}`, kept]) {
    const given = body(tasks, ',"totalSize":3')
    expect(textOf(taskReaders.filtered(given, own))).toBe(filtered)
  }
  const id = '123456789012345678901'
  const numbered = body(`{"id":${id}},{"id":${id}1}`)
  expect(textOf(taskReaders.filtered(numbered, [`task ${id}`]))).toBe(
    Buffer.from(body(`{"id":${id}}`)).toString(),
  )
})

test('of any document, the lists keep what is owned, and all else stays as it is', () => {
  // No document with this name is taken.
  const any = fc.jsonValue().filter((value) => !JSON.stringify(value).includes('__proto__'))
  const task = fc.record({ id: fc.constantFrom('a', 'b', 'c'), x: any })
  const tasks = fc.array(task, { maxLength: 5 })
  const { inner } = fc.letrec<{ inner: unknown }>((tie) => ({
    inner: fc.oneof(
      { maxDepth: 3 },
      any,
      fc.record({ tasks, totalSize: fc.nat(), x: tie('inner') }, { requiredKeys: ['tasks'] }),
      fc.array(tie('inner'), { maxLength: 3 }),
    ),
  }))
  const indent = fc.constantFrom('', ' ', '\t', '\r\n')
  fc.assert(
    fc.property(tasks, inner, indent, fc.constantFrom('a', 'b'), (listed, rest, by, own) => {
      const text = JSON.stringify({ rest, tasks: listed }, null, by)
      const filtered = textOf(taskReaders.filtered(utf8(text), [`task ${own}`]))
      const model = { rest: ownOnly(rest, own), tasks: listed.filter(({ id }) => id === own) }
      expect(JSON.parse(filtered)).toEqual(JSON.parse(JSON.stringify(model)))
      const all = textOf(taskReaders.filtered(utf8(text), ['task a', 'task b', 'task c']))
      if (!/totalsize/i.test(text)) expect(all).toBe(text)
    }),
  )
})

function ownOnly(value: unknown, own: string): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((each: unknown) => ownOnly(each, own))
  const kept = Object.entries(value).flatMap(([name, member]: [string, unknown]) => {
    if (name === 'totalSize') return []
    if (name !== 'tasks') return [[name, ownOnly(member, own)]]
    return [[name, (member as { id: string }[]).filter(({ id }) => id === own)]]
  })
  return Object.fromEntries(kept) as unknown
}
