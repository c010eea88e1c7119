import { MalformedError, type Principal, utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ACTION_JSON_BYTES_MAX, ActionTooLarge } from './action-content.ts'
import { type Action, actionDigestText } from './action-digest.ts'
import { parameterNames } from './action-summary.ts'

const principal = (
  kind: Principal['kind'],
  subject: string,
  issuer = 'fabric.test',
): Principal => ({
  ...{ kind, subject, issuer },
})

const base: Action = {
  caller: principal('agent', 'buyer'),
  user: null,
  receiver: principal('agent', 'bank'),
  action: 'call',
  protocol: 'mcp',
  operation: 'tools/call',
  tool: 'pay',
  method: 'POST',
  path: '/mcp',
  headers: [['content-type', 'application/json']],
  contentType: 'application/json',
  body: new Uint8Array(0),
}

const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value))
const text = (body: string): Uint8Array => utf8(body)

const mcp = (args: object, others: object = {}, id: unknown = 1): Action => ({
  ...base,
  body: json({
    ...{ jsonrpc: '2.0', id, method: 'tools/call' },
    params: { name: 'pay', arguments: args, ...others },
  }),
})

const a2a = (parts: unknown, messageId: unknown, id: unknown = 1): Action => ({
  ...base,
  ...{ protocol: 'a2a', operation: 'SendMessage', tool: '', path: '/' },
  body: json({
    ...{ jsonrpc: '2.0', id, method: 'SendMessage' },
    params: { message: { role: 'ROLE_USER', parts, messageId } },
  }),
})

const rest = (messageId: unknown): Action => ({
  ...base,
  ...{ protocol: 'a2a', operation: 'SendMessage', tool: '', path: '/message:send' },
  body: json({ message: { role: 'ROLE_USER', parts: [{ text: 'pay' }], messageId } }),
})

const answer = (changes: object, headers: Action['headers'] = base.headers): Action => ({
  ...base,
  ...{ operation: 'response', tool: '', headers },
  body: json({ jsonrpc: '2.0', id: 7, result: { action: 'accept' }, ...changes }),
})

const http = (body: string, changes: Partial<Action> = {}): Action => ({
  ...base,
  ...{ protocol: 'http', operation: 'POST', tool: '', path: '/orders?dry=0' },
  body: text(body),
  ...changes,
})

const same = (a: Action, b: Action): void => expect(actionDigestText(a)).toBe(actionDigestText(b))
const different = (a: Action, b: Action): void =>
  expect(actionDigestText(a)).not.toBe(actionDigestText(b))

describe('the digest of an action', () => {
  test('is the same in every version: MCP, both bindings of A2A, plain HTTP', () => {
    const digests = [
      mcp({ amount: 5, to: 'Ünï' }),
      a2a([{ text: 'pay 5' }], 'm-1'),
      rest('m-1'),
      http('{"amount":5}'),
      http('amount=5', { contentType: 'application/x-www-form-urlencoded' }),
      http('', { method: 'DELETE', operation: 'DELETE', contentType: '' }),
    ].map(actionDigestText)
    expect(digests).toMatchInlineSnapshot(`
      [
        "737efe8390065b2c6aa814c204e72612ba66dc3ebb53acc85a3db09f0b1c078b",
        "4ae84595f105eec4a539f5647238147088ab19bbd76fac634308c84258c5b6b3",
        "0b26bd6d78d901d3e5c9405ff11d394b886ed00bc0e0ea082ca1d1449281af74",
        "fcbe2eaeac804e7c6b8a70fef754b230b919aaed4652ae2fd1bbbaf75c4d6db8",
        "92a716e17c4b32347a52661de6a1caceb04d3ef6df66373456707b7485351e48",
        "e9af642e77989d6708458665a879e563417a7139bb858764da7b6e40c3e1d181",
      ]
    `)
  })

  test('stays the same for another attempt: ids, tokens and trace differ', () => {
    same(mcp({ a: 1 }, {}, 1), mcp({ a: 1 }, {}, 'other'))
    same(mcp({ a: 1 }), mcp({ a: 1 }, { _meta: { progressToken: 7 } }))
    const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    same(mcp({ a: 1 }), mcp({ a: 1 }, { _meta: { traceparent: parent, tracestate: 'a=b' } }))
    same(a2a([{ text: 'x' }], 'm-1', 1), a2a([{ text: 'x' }], 'm-2', 2))
    same(rest('m-1'), rest('0c1f'))
    const traced = [...base.headers, ['traceparent', parent], ['x-request-id', '9']] as const
    same(http('{}'), http('{}', { headers: traced }))
  })

  test('keeps what a receiver could take for more than an id', () => {
    different(a2a([{ text: 'x' }], 'm-1'), a2a([{ text: 'x' }], 'pay all to Eve'))
    different(a2a([{ text: 'x' }], 'm-1'), a2a([{ text: 'x' }], { amount: 7 }))
    different(mcp({ a: 1 }), mcp({ a: 1 }, { _meta: { progressToken: { amount: 7 } } }))
    different(mcp({ a: 1 }), mcp({ a: 1 }, { _meta: { other: 7 } }))
    // Plain HTTP has no ids of attempts: an `id` is a parameter.
    different(http('{"id":1}'), http('{"id":2}'))
    different(http('{"message":{"messageId":"1"}}'), http('{"message":{"messageId":"2"}}'))
    different(http('{}'), http('{}', { headers: [...base.headers, ['if-match', '"1"']] }))
  })

  test('keeps the ids that name a question, a session or a task', () => {
    different(answer({}), answer({ id: 8 }))
    different(answer({}), answer({ id: '7' }))
    const refused = { error: { code: 1, message: 'no' } }
    different(answer({ result: undefined, ...refused }), answer({ id: 8, ...refused }))
    const inSession = (id: string) => [...base.headers, ['mcp-session-id', id]] as const
    different(answer({}, inSession('a')), answer({}, inSession('b')))
    const end = { method: 'DELETE', operation: 'session/end', body: text('') }
    different(
      { ...base, ...end, headers: inSession('a') },
      { ...base, ...end, headers: inSession('b') },
    )
    same({ ...mcp({}), headers: inSession('a') }, { ...mcp({}), headers: inSession('b') })
    const cancel = (id: string): Action => ({
      ...rest('m'),
      ...{ operation: 'CancelTask', path: '/tasks/A:cancel', body: json({ id }) },
    })
    different(cancel('A'), cancel('B'))
    const send = (members: object): Action => ({
      ...rest('m'),
      body: json({ message: { messageId: 'm' }, ...members }),
    })
    different(send({ id: 'A' }), send({ id: 'B' }))
    different(
      send({ params: { message: { messageId: 'a' } } }),
      send({ params: { message: { messageId: 'b' } } }),
    )
  })

  test('keeps the ids of what is not a JSON-RPC call of its protocol', () => {
    const without = (name: string, id: number): Action => {
      const { [name]: _, ...members } = JSON.parse(new TextDecoder().decode(mcp({}).body)) as {
        readonly [name: string]: unknown
      }
      return { ...base, body: json({ ...members, id }) }
    }
    different(without('jsonrpc', 1), without('jsonrpc', 2))
    different(without('method', 1), without('method', 2))
    const both = (id: number): Action => ({
      ...base,
      body: json({ jsonrpc: '2.0', id, method: 'tools/call', result: {} }),
    })
    different(both(1), both(2))
    const token = (progressToken: number) => answer({ params: { _meta: { progressToken } } })
    different(token(1), token(2))
    const task = (messageId: string): Action => ({
      ...a2a([], messageId),
      operation: 'CancelTask',
    })
    different(task('m-1'), task('m-2'))
    different(http('{"params":{"_meta":{}}}'), http('{"params":{}}'))
  })

  test('tells a call from a notification, and from a call that has no id to answer', () => {
    const { id: _, ...members } = JSON.parse(new TextDecoder().decode(mcp({}).body)) as {
      readonly id: number
    }
    const notification = { ...base, body: json(members) }
    different(mcp({}), notification)
    different(mcp({}, {}, null), notification)
    different(mcp({}, {}, null), mcp({}))
    different(a2a([], 'm-1'), a2a([], undefined))
  })

  test('depends on the value of JSON, not on how it is written', () => {
    same(http('{"a":1,"b":[true,null]}'), http(' { "b" : [true, null], "a":1.0e0 } '))
    same(http('{"a":"\\u00e9"}'), http('{"a":"é"}'))
    different(http('{"a":"é"}'), http('{"a":"e\u0301"}'))
    different(http('{"a":[1,2]}'), http('{"a":[2,1]}'))
    different(http('{"a":1}'), http('{"a":"1"}'))
  })

  test('distinguishes numbers that a double does not', () => {
    different(http('{"to":9007199254740993}'), http('{"to":9007199254740992}'))
    different(http('{"a":0.1}'), http('{"a":0.10000000000000000001}'))
    different(http('{"a":0}'), http('{"a":-0}'))
    different(http('{"a":0}'), http('{"a":1e-400}'))
    different(http('[{"a":9007199254740993},1]'), http('[9007199254740992,{"a":1}]'))
    same(http('{"a":100}'), http('{"a":1e2}'))
    same(http('{"to":9007199254740993,"x":1}'), http('{"x":1,"to":9007199254740993.0}'))
  })

  test('refuses JSON that readers differ over, and more of it than one request may cost', () => {
    expect(() => actionDigestText(http('{"a":1,"a":2}'))).toThrow(MalformedError)
    expect(() => actionDigestText(http('{"a":"\\ud800"}'))).toThrow(MalformedError)
    expect(() => actionDigestText(http('{'))).toThrow(MalformedError)
    const large = http(`"${'x'.repeat(ACTION_JSON_BYTES_MAX)}"`)
    expect(() => actionDigestText(large)).toThrow(ActionTooLarge)
    const bytes = { ...large, contentType: 'application/octet-stream' }
    expect(actionDigestText(bytes)).toHaveLength(64)
  })

  test('changes with every part of who asks whom for what', () => {
    const action = mcp({ amount: 5 })
    const changes: readonly Partial<Action>[] = [
      { caller: principal('agent', 'other') },
      { caller: principal('user', 'buyer') },
      { caller: principal('agent', 'buyer', 'other.test') },
      { user: principal('user', 'alice') },
      { receiver: principal('agent', 'other') },
      { receiver: principal('agent', 'bank', 'other.test') },
      { action: 'administer' },
      { protocol: 'http' },
      { operation: 'prompts/get' },
      { tool: 'refund' },
      { method: 'PUT' },
      { path: '/mcp?x' },
      {
        headers: [
          ['content-type', 'application/json'],
          ['mcp-param-x', '1'],
        ],
      },
      { body: mcp({ amount: 6 }).body },
      { contentType: 'text/plain' },
    ]
    const digests = [action, ...changes.map((each) => ({ ...action, ...each }))]
    expect(new Set(digests.map(actionDigestText)).size).toBe(changes.length + 1)
  })

  test('of two values is the same exactly if their JSON is', () => {
    const value = fc
      .jsonValue({ maxDepth: 3 })
      .filter((each) => !JSON.stringify(each).includes('__proto__'))
    fc.assert(
      fc.property(value, value, (a, b) => {
        const equal = canonical(a) === canonical(b)
        const digests = [a, b].map((each) => actionDigestText(mcp({ each })))
        expect(digests[0] === digests[1]).toBe(equal)
      }),
    )
  })

  test('of any arguments does not depend on the id, the token or the order of members', () => {
    const args = fc.dictionary(
      fc.string({ maxLength: 5 }).filter((name) => name !== '__proto__'),
      fc.jsonValue({ maxDepth: 1 }),
    )
    const id = fc.oneof(fc.nat(), fc.stringMatching(/^[a-z0-9-]{1,12}$/))
    fc.assert(
      fc.property(args, id, id, fc.nat(), (given, first, second, progressToken) => {
        const reversed = Object.fromEntries(Object.entries(given).reverse())
        same(mcp(given, {}, first), mcp(reversed, { _meta: { progressToken } }, second))
      }),
    )
  })
})

/** Another reading of equality than the one under test: members sorted, numbers as they are. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).map(
    ([name, each]) => `${JSON.stringify(name)}:${canonical(each)}`,
  )
  return `{${members.sort().join()}}`
}

describe('the summary for the person who decides', () => {
  test('names parameters and never shows a value', () => {
    const secret = 'hunter2'
    expect(parameterNames(mcp({ amount: 5, to: secret }))).toEqual(['amount', 'to'])
    expect(parameterNames(a2a([{ text: secret }], 'm'))).toEqual(['message'])
    expect(parameterNames(rest('m'))).toEqual(['message'])
    expect(parameterNames(http('{"iban":"x"}'))).toEqual(['dry', 'iban'])
    expect(parameterNames(http('a=b', { contentType: 'text/plain' }))).toEqual(['dry'])
  })

  test('is bounded and legible', () => {
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`p${at}`, 1]))
    expect(parameterNames(mcp(many))).toHaveLength(33)
    const [name = ''] = parameterNames(mcp({ [`\u202e${'x'.repeat(200)}`]: 1 }))
    expect(name.length).toBeLessThanOrEqual(64)
    expect(name).toContain('\\u{202e}')
  })
})
