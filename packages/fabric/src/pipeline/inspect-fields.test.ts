import { expect, test } from 'vitest'
import { Refusal } from '../lib/refusal.ts'
import { createRedactor } from '../redaction/create-redactor.ts'
import { inspectFields, inspectPath, maskFrame } from './inspect-fields.ts'

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

test('fields that only machines read stay, and so does everything that no policy names', () => {
  const fields = [
    ['mcp-session-id', card],
    ['traceparent', card],
  ] as const
  expect(inspectFields(fields, masked, redactor).fields).toBe(fields)
  const worded = [['x-request-id', card]] as const
  expect(inspectFields(worded, nothing, redactor).fields).toBe(worded)
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

test('the name of an argument is no place for a card either, and no path repeats it', () => {
  const kept = inspectFields([[`mcp-param-${card}`, 'a']], masked, redactor)
  expect(kept.fields).toEqual([])
  expect(new Set(kept.findings.map(({ path }) => path))).toEqual(
    new Set(['header mcp-param-[CARD]']),
  )
})

test.each(['/a?password=hunter2hunter2', '/a?x=1&api_key=hunter2hunter2'])(
  'what the query of %s names as a secret is one',
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
