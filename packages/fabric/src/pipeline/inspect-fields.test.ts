import { expect, test } from 'vitest'
import { Refusal } from '../lib/refusal.ts'
import { createRedactor } from '../redaction/scan/create-redactor.ts'
import { inspectFields, inspectPath, inspectSignature, maskFrame } from './inspect-fields.ts'

const redactor = createRedactor({ hashKey: new Uint8Array(32) })
const card = '4111111111111111'
const masked = { mask: ['card'], block: [] }
const blocked = { mask: [], block: ['card'] }
const nothing = { mask: [], block: [] }

test.each([masked, blocked])('a field with what policy names is left out: %j', (order) => {
  const fields = [
    ['user-agent', 'a/1'],
    ['x-request-id', card],
    ['etag', `"${card}"`],
  ] as const
  const kept = inspectFields(fields, order, redactor)
  expect(kept.fields).toEqual([['user-agent', 'a/1']])
  expect(kept.findings.map(({ path }) => path)).toEqual(['header x-request-id', 'header etag'])
})

test('generated values stay, and so does everything that no policy names', () => {
  const fields = [
    ['mcp-session-id', '41111111-1111-4111-8111-111111111111'],
    ['traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
  ] as const
  expect(inspectFields(fields, masked, redactor).fields).toBe(fields)
  const worded = [['x-request-id', card]] as const
  expect(inspectFields(worded, nothing, redactor).fields).toBe(worded)
})

test.each([
  ['mcp-session-id', card],
  ['traceparent', card],
  ['tracestate', `a=${card}`],
  ['accept', `text/plain;x=${card}`],
  ['mcp-name', `=?base64?${Buffer.from(card).toString('base64')}?=`],
  ['mcp-param-a', `=?base64?${Buffer.from(card).toString('base64')}?=`],
])('the field %s is not a place for a card: %s', (name, value) => {
  expect(inspectFields([[name, value]], masked, redactor).fields).toEqual([])
})

test.each([
  ['user-agent', 'Mozilla/5.0 \u00e9'],
  ['x-request-id', '=?utf-8?Q?=34=31=31=31?='],
  ['mcp-param-a', '=?base64?gA==?='],
  ['mcp-param-a', '=?base64?NB?='],
  ['mcp-param-a', '=?base64?AA==?='],
  ['traceparent', '00-zz'],
])('the field %s of %j, which readers decode in different ways, is left out', (name, value) => {
  expect(inspectFields([[name, value]], nothing, redactor).fields).toEqual([])
})

test('a type with a finding in its parameters keeps its essence', () => {
  const fields = [['content-type', `text/plain; charset=utf-8; x=${card}`]] as const
  const kept = inspectFields(fields, masked, redactor)
  expect(kept.fields).toEqual([['content-type', 'text/plain']])
  expect(kept.findings.map(({ path }) => path)).toEqual(['header content-type'])
})

test('a signature is not a place for a card: neither its nonce nor the names that it covers', () => {
  const components = ['"@method"', '"@path"']
  const drawn = '4bf92f3577b34da6a3ce929d0e0e4736'
  const inspected = (names: readonly string[], nonce: string | null) =>
    inspectSignature({ components: names, nonce }, masked, redactor)
  expect(inspected(components, drawn)).toBeNull()
  expect(inspected(components, null)).toBeNull()
  expect(inspected(components, card)).toContain('card')
  expect(inspected([...components, `"x-${card}"`], drawn)).toContain('card')
})

test.each([
  ['mcp-param-password', 'hunter2hunter2'],
  ['mcp-param-note', card],
  ['x-note', '{"password":"hunter2hunter2"}'],
])('the field %s is read with the names in it', (name, value) => {
  const fields = [
    ['user-agent', 'a/1'],
    [name, value],
    ['x-last', '{"a":1}'],
  ] as const
  const order = { mask: ['card', 'credential'], block: [] }
  const kept = inspectFields(fields, order, redactor)
  expect(kept.fields.map(([left]) => left)).toEqual(['user-agent', 'x-last'])
  expect(kept.findings.map(({ path }) => path)).toEqual([`header ${name}`])
})

test('the name of an argument is not a place for a card either, and no path repeats it', () => {
  const kept = inspectFields([[`mcp-param-${card}`, 'a']], masked, redactor)
  expect(kept.fields).toEqual([])
  expect(new Set(kept.findings.map(({ path }) => path))).toEqual(
    new Set(['header mcp-param-[CARD]']),
  )
})

test.each(['/a?password=hunter2hunter2', '/a?x=1&api_key=hunter2hunter2'])(
  'a value that the query of %s names as a secret is one',
  (path) => {
    const secrets = { mask: ['credential'], block: [] }
    expect(inspectPath(path, secrets, redactor)).toMatchObject({ code: 'CONTENT_BLOCKED' })
    expect(inspectPath('/a?page=hunter2hunter2', secrets, redactor)).toBeNull()
  },
)

test.each([`/a/${card}`, `/a?b=${card}`, '/a?b=4111+1111+1111+1111', '/a?b=%34111111111111111'])(
  'the path %s is refused, since a marker in it would lead elsewhere',
  (path) => {
    expect(inspectPath(path, masked, redactor)).toMatchObject({ code: 'CONTENT_BLOCKED' })
    expect(inspectPath(path, nothing, redactor)).toBeNull()
  },
)

test('the frame of an event is masked like its data', () => {
  const frame = [
    ['event', 'paid'],
    ['id', card],
  ] as const
  const { fields } = orThrow(maskFrame(frame, masked, redactor))
  expect(fields[0]).toEqual(['event', 'paid'])
  expect(fields[1]?.[1]).not.toContain(card)
  expect(maskFrame(frame, blocked, redactor)).toMatchObject({ code: 'CONTENT_BLOCKED' })
})

function orThrow<T>(answer: T | Refusal): T {
  if (answer instanceof Refusal) throw new Error(answer.detail)
  return answer
}
