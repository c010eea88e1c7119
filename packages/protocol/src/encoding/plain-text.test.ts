import fc from 'fast-check'
import { expect, test } from 'vitest'
import { utf8 } from './bytes.ts'
import { controlAt, decodePercent, percentFault } from './plain-text.ts'

test('a control character is found wherever it is, and no other character is taken for one', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const at = text.search(/(?![\t\n\r])\p{Cc}/u)
      const bytes = at < 0 ? -1 : utf8(text.slice(0, at)).length
      expect(controlAt(utf8(text))).toBe(bytes)
    }),
  )
})

test('percent-encoded text is decoded, and a percent sign that encodes nothing stays', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const decoded = decodePercent(utf8(encodeURIComponent(text)))
      expect(new TextDecoder('utf-8', { ignoreBOM: true }).decode(decoded)).toBe(text)
    }),
  )
  expect(decodePercent(utf8('100%&%4&%zz%41'))).toEqual(utf8('100%&%4&%zzA'))
})

test.each([
  ['a=%c3%a9', null],
  ['a=1', null],
  ['a=%0a%0D%09', null],
  ['a=%00', 'a control character is percent-encoded'],
  ['a=%1b', 'a control character is percent-encoded'],
  ['a=%c2%85', 'a control character is percent-encoded'],
  ['a=%e9', 'percent-encoded bytes are not UTF-8'],
  ['a=%c0%80', 'percent-encoded bytes are not UTF-8'],
  ['a=%ff%fe4%001', 'percent-encoded bytes are not UTF-8'],
  ['a=%ed%a0%80', 'percent-encoded bytes are not UTF-8'],
])('%s: %s', (text, fault) => {
  expect(percentFault(utf8(text))).toBe(fault)
})
