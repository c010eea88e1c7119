import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  concat,
  equalBytes,
  parseBase64,
  parseBase64Url,
  parseUtf8,
  toBase64,
  toBase64Url,
  toHex,
  utf8,
} from './bytes.ts'

const bytes = fc.uint8Array({ maxLength: 200 })

describe('base64', () => {
  test('is what Node writes, and parses back', () => {
    fc.assert(
      fc.property(bytes, (given) => {
        expect(toBase64(given)).toBe(Buffer.from(given).toString('base64'))
        expect(parseBase64(toBase64(given))).toEqual(given)
        expect(toBase64Url(given)).toBe(Buffer.from(given).toString('base64url'))
        expect(parseBase64Url(toBase64Url(given))).toEqual(given)
        expect(toHex(given)).toBe(Buffer.from(given).toString('hex'))
      }),
    )
  })

  test('has one text for each value: any other text is refused or means other bytes', () => {
    const digit = fc.constantFrom(...Array.from('AQgw/+=-_ \nz\u0141é'))
    fc.assert(
      fc.property(fc.string({ unit: digit, maxLength: 9 }), (text) => {
        const parsed = parseBase64(text)
        if (parsed !== null) expect(toBase64(parsed)).toBe(text)
        const url = parseBase64Url(text)
        if (url !== null) expect(toBase64Url(url)).toBe(text)
      }),
      { numRuns: 2000 },
    )
  })

  test.each([
    'A',
    'AA',
    'AAA',
    'AA=',
    'A===',
    '====',
    '=',
    'AB==',
    'AAB=',
    'AA=A',
    'AAAA=',
    'AA\n=',
    'ŁAAA',
  ])('refuses %j', (text) => {
    expect(parseBase64(text)).toBeNull()
  })
})

describe('bytes', () => {
  test('are equal when their text is', () => {
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        expect(equalBytes(a, b)).toBe(toHex(a) === toHex(b))
        expect(toHex(concat(a, b))).toBe(toHex(a) + toHex(b))
      }),
    )
  })

  test('that are not UTF-8 are not text, and a byte order mark is kept', () => {
    expect(() => parseUtf8(Uint8Array.of(0xc0, 0x80))).toThrow(TypeError)
    expect(parseUtf8(utf8('\ufeffa'))).toBe('\ufeffa')
  })
})
