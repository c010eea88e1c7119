import { parseUtf8, utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hasLineBreak, withoutLineBreaks } from './line-breaks.ts'

const breaks = ['\v', '\f', '\x1c', '\x1d', '\x1e', '\x85', '\u2028', '\u2029']
const text = fc
  .array(fc.oneof(fc.constantFrom(...breaks), fc.string({ unit: 'grapheme' })))
  .map((parts) => parts.join(''))

describe('withoutLineBreaks', () => {
  test('leaves none, and changes nothing else', () => {
    fc.assert(
      fc.property(text, fc.constantFrom('application/json', 'text/plain'), (given, type) => {
        const clean = withoutLineBreaks(utf8(given), type)
        expect(hasLineBreak(parseUtf8(clean))).toBe(false)
        expect(withoutLineBreaks(clean, type)).toBe(clean)
        const rest = (each: string) => each.replaceAll(/\n|\\u[0-9a-f]{4}/g, '')
        const without = breaks.reduce((left, each) => left.replaceAll(each, ''), given)
        expect(rest(parseUtf8(clean))).toBe(rest(without))
      }),
    )
  })

  test('keeps the value of JSON, also of a lone string', () => {
    fc.assert(
      fc.property(fc.jsonValue(), text, (value, member) => {
        for (const json of [JSON.stringify({ [member]: value, member }), JSON.stringify(member)]) {
          const type = json.startsWith('{') ? 'application/json' : 'text/plain'
          const clean = parseUtf8(withoutLineBreaks(utf8(json), type))
          expect(JSON.parse(clean)).toEqual(JSON.parse(json))
        }
      }),
    )
  })
})
