import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { parseJsonBody } from './json-body.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

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
  ])('refuses %s with the code that names the reason', (text, code) => {
    expect(parseJsonBody(bytes(text))).toMatchObject({ code })
  })
})
