import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { DATA_CLASSES } from '../redactor.ts'
import { createRedactor } from './create-redactor.ts'

const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(9) })

function codeOf(text: string, contentType = 'application/json'): string {
  const order = { mask: DATA_CLASSES, block: [] }
  const answer = redactor.redact(new TextEncoder().encode(text), contentType, order)
  return answer instanceof Refusal ? answer.code : 'passed'
}

/**
 * Each of these makes some detector start as often as it can. Anything worse than linear work would
 * run for minutes here, and into the time limit of the runner.
 */
describe('a megabyte that is made to be slow', () => {
  const size = 1_000_000
  const fill = (unit: string, length = size): string => unit.repeat(Math.ceil(length / unit.length))
  const hostile = [
    '@',
    'a@b.',
    '4',
    '4 ',
    '0 ',
    '41,',
    '4.1',
    '4e1',
    '4111 1111 1111 ',
    '4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 ',
    '4111111111111110.9 ',
    '4111111111111111e9',
    'a4111111111111111',
    '4111-',
    '4 1-',
    'DE89 3704 ',
    'D E 8 ',
    'is 2 ',
    '[CARD *1111] ',
    '[card ',
    '\u0301',
    '4\u0301',
    '1 2 3 4 5 6 7 ',
    '00 ',
    '+1',
    '%34',
    '\\u0034',
    '&#52;',
    '://a:',
    'eyJ',
    'eyJaa.',
    'sk-',
    'ghp_',
    '-----BEGIN PRIVATE KEY-----',
    'QUJD',
    'QUJD\n',
    'A\n',
    'NDExMTEx\n  ',
    Buffer.from('NDExMTEx').toString('base64'),
    Buffer.from('4 1 1 ', 'utf16le').toString('base64'),
    'DE89370400440532013',
    'card 4 ',
    'phone 1 ',
    '\u200b',
    '４',
    '1Q~',
    'AccountKey=',
    'secret_access_key ',
    '212-555-',
    '06 12 ',
    '{',
  ]
  test.each(hostile)('%j, as text and as a JSON string, is inspected to the end', (unit) => {
    const body = fill(unit)
    expect(codeOf(body, 'text/plain')).toMatch(/passed|MESSAGE_TOO_LARGE/)
    expect(codeOf(JSON.stringify(fill(unit, size / 5)))).toMatch(/passed|MESSAGE_TOO_LARGE/)
  })

  test.each(['{"a":', '[', '"', '[1,', '{"a":1,', '1', '-', '\\'])(
    '%j as JSON is refused',
    (unit) => {
      expect(codeOf(fill(unit))).toBe('MESSAGE_MALFORMED')
    },
  )

  test('many names in one object are read to the end', () => {
    const names = Array.from({ length: 60_000 }, (_, i) => `"${i}@example.org":0`)
    expect(codeOf(`{${names.join(',')}}`)).toBe('MESSAGE_TOO_LARGE')
    expect(codeOf(`{${names.map((name) => name.replace('@', '-')).join(',')}}`)).toBe('passed')
  })
})

describe('a name of half a megabyte with a hundred thousand values below', () => {
  const numbers = Array.from({ length: 100_000 }, (_, i) => 2_345_600 + i).join(',')
  const texts = Array.from({ length: 20_000 }, (_, i) => `"value ${i}"`).join(',')
  const objects = Array.from(
    { length: 20_000 },
    (_, i) => `{"n":${2_345_600 + i}},1${i}00000`,
  ).join(',')
  const long = 'k'.repeat(500_000)
  const escaped = '\\u006b'.repeat(80_000)
  test.each([
    ['numbers', `{"${long}":[${numbers}]}`],
    ['numbers under an escaped name', `{"${escaped}":[${numbers}]}`],
    ['numbers between objects', `{"${long}":[${objects}]}`],
    ['text under the name of a secret', `{"${long}password":[${texts}]}`],
    ['text under an escaped name of a secret', `{"${escaped}password":[${texts}]}`],
    ['the same inside a string', JSON.stringify({ a: `{"${long}password":[${texts}]}` })],
  ])('%s is inspected to the end', (_, text) => {
    expect(codeOf(text)).toMatch(/passed|MESSAGE_TOO_LARGE/)
  })
})

test('a finding below a long name keeps neither the name nor a long path', () => {
  const name = 'x'.repeat(100_000)
  const text = `{"${name}":[${'{"deep":'.repeat(50)}"someone@example.org"${'}'.repeat(50)}]}`
  const order = { mask: DATA_CLASSES, block: [] }
  const answer = redactor.redact(new TextEncoder().encode(text), 'application/json', order)
  if (answer instanceof Refusal) throw new Error(answer.detail)
  expect(answer.findings.map(({ path }) => path.length < 300 && path)).toEqual([
    expect.stringMatching(/^\/\[100000 bytes\]\/0\/deep\/.*\/…$/),
  ])
})

test('the end of a long name still classifies its value', () => {
  for (const name of [`${'x'.repeat(1000)} password`, `${'\\\\'.repeat(500)}password`]) {
    const body = new TextEncoder().encode(
      `{"${name}":"hunter2hunter2","${'x'.repeat(999)} phone":2125550123}`,
    )
    const answer = redactor.redact(body, 'application/json', { mask: DATA_CLASSES, block: [] })
    if (answer instanceof Refusal) throw new Error(answer.detail)
    expect(answer.findings.map(({ dataClass }) => dataClass)).toEqual(['credential', 'phone'])
  }
})

test('names that hold one value in two encodings stay two names', () => {
  const text = '{"4111 1111 1111 1111":1,"4111111111111111":2,"cGF5IDQxMTExMTExMTExMTExMTE=":3}'
  const order = { mask: DATA_CLASSES, block: [] }
  const answer = redactor.redact(new TextEncoder().encode(text), 'application/json', order)
  if (answer instanceof Refusal) throw new Error(answer.detail)
  const masked = Buffer.from(answer.body).toString()
  expect(masked).not.toContain('1111')
  expect(Object.values(JSON.parse(masked) as object)).toEqual([1, 2, 3])
})

test.each(['', ' ', '\n', '\r\n\t ', '\\u0020', '\\u007b'])(
  'JSON in a string is read by its names after %j',
  (before) => {
    const inner =
      before === '\\u007b' ? '"password":"hunter2hunter2"}' : '{"password":"hunter2hunter2"}'
    const nested = JSON.stringify(inner).slice(1, -1)
    const written = before.startsWith('\\') ? before : JSON.stringify(before).slice(1, -1)
    for (const [type, text] of [
      ['application/json', `{"content":"${written}${nested}"}`],
      ['text/x+json', `{"content":"${written}${nested}"}`],
      ...(before.startsWith('\\') ? [] : [['text/plain', `${before}${inner}`] as const]),
    ] as const) {
      const order = { mask: DATA_CLASSES, block: [] }
      const answer = redactor.redact(new TextEncoder().encode(text), type, order)
      if (answer instanceof Refusal) throw new Error(answer.detail)
      expect(Buffer.from(answer.body).toString()).not.toContain('hunter2')
    }
  },
)

describe('pairs of a name and a value in one another', () => {
  const nest = (depth: number): string => {
    let value: unknown = 'correct horse 9'
    for (let i = 0; i < depth; i++) value = { name: 'password', value }
    return JSON.stringify(value)
  }

  test.each(Array.from({ length: 60 }, (_, i) => i + 1))(
    '%i deep are masked or refused',
    (depth) => {
      const bytes = new TextEncoder().encode(nest(depth))
      for (const order of [
        { mask: DATA_CLASSES, block: [] },
        { mask: [], block: DATA_CLASSES },
      ]) {
        const answer = redactor.redact(bytes, 'application/json', order)
        if (answer instanceof Refusal) continue
        expect(new TextDecoder().decode(answer.body)).not.toContain('horse')
      }
    },
  )

  test('60 deep are refused at the bound of findings, which the refusal states', () => {
    const bytes = new TextEncoder().encode(nest(60))
    const answer = redactor.redact(bytes, 'application/json', { mask: DATA_CLASSES, block: [] })
    expect(answer).toMatchObject({ code: 'MESSAGE_TOO_LARGE', limit: 'inspect.findings, 20000' })
  })
})
