import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { isDisguisedCall, isJsonType, parseJsonBody } from './json-body.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('isJsonType', () => {
  test.each([
    'application/json',
    'Application/JSON; charset=utf-8',
    'application/vnd.countersign.receipt+json',
    'text/json',
  ])('%s is parsed as JSON', (type) => expect(isJsonType(type)).toBe(true))

  test.each(['', 'text/plain', 'application/jsonl', 'application/octet-stream', 'json'])(
    '%s is not',
    (type) => expect(isJsonType(type)).toBe(false),
  )
})

describe('parseJsonBody', () => {
  test('gives back what was written', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false, maxDepth: 8 }), (value) => {
        const text = JSON.stringify(value)
        const parsed = parseJsonBody(bytes(text))
        // The generator may write members or numbers that the strict form does not have.
        if (!(parsed instanceof Refusal)) expect(JSON.stringify(parsed)).toBe(text)
      }),
    )
  })

  test.each([
    ['{"a":1,"a":2}', 'MESSAGE_MALFORMED'],
    ['{', 'MESSAGE_MALFORMED'],
    ['['.repeat(100) + ']'.repeat(100), 'MESSAGE_TOO_LARGE'],
  ])('refuses %s with the code that says why', (text, code) => {
    expect(parseJsonBody(bytes(text))).toMatchObject({ code })
  })
})

describe('isDisguisedCall', () => {
  test.each([
    '{"jsonrpc":"2.0","method":"tools/call"}',
    ' \n{"method":"a","\\u006asonrpc":"1.0"}',
    '[{"a":1},{"jsonrpc":"2.0","method":"a"}]',
  ])('%s is a call, whatever its media type says', (text) => {
    expect(isDisguisedCall(bytes(text))).toBe(true)
  })

  test.each(['', 'jsonrpc method', '{"jsonrpc":"2.0"}', '{"method":"card"}', '{"jsonrpc"', '[1]'])(
    '%s is none',
    (text) => expect(isDisguisedCall(bytes(text))).toBe(false),
  )
})
