import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isJsonEssence, parseMediaType, plainMediaType } from './media-type.ts'

describe('a media type', () => {
  test.each([
    ['text/plain', 'text/plain', null],
    ['Text/Plain;Charset=UTF-8', 'text/plain', 'utf-8'],
    ['text/plain; charset="Utf-8"', 'text/plain', 'utf-8'],
    ['application/vnd.api+json; ext="https://a.example/e"', 'application/vnd.api+json', null],
    ['text/plain; format=flowed;charset=us-ascii ', 'text/plain', 'us-ascii'],
    // Blanks before a semicolon, and empty parameters (RFC 9110, section 5.6.6).
    ['text/plain ;charset=utf-8', 'text/plain', 'utf-8'],
    ['text/plain\t ; charset=UTF-8 ;', 'text/plain', 'utf-8'],
    ['application/json;', 'application/json', null],
    ['text/plain;; charset=utf-16', 'text/plain', 'utf-16'],
  ])('%s is read', (field, essence, charset) => {
    expect(parseMediaType(field)).toMatchObject({ essence, charset })
  })

  test.each([
    '',
    'text',
    'text/',
    '/plain',
    'text/plain, text/html',
    'text/plain text/html',
    'text/plain; charset',
    'text/plain; charset=',
    'text/plain; charset=""',
    'text/plain; charset=utf-8; charset=utf-16',
    'text/plain; charset=utf-8; CHARSET=utf-8',
    "text/plain; charset*=utf-8''utf-16",
    'text/plain; charset*0=utf; charset*1=-16',
    'text/plain; x="; charset=utf-16"',
    'text/plain; x="a\\"; charset=utf-16; y=\\""',
    'text/plain; x-charset=utf-16',
    'text/plain; x=charset',
    'text/plain; charset=charset',
    'text/plain; charset=utf-8; charset=utf-16"',
    'text/plain;; charset=utf-8; ; charset=utf-16',
    '; charset=utf-8',
    'text/plain ; x = y',
    "text/plain; charset='utf-16'",
    'text/plain; charset = utf-16',
    'text/plain; charset=utf-16,utf-8',
    'text/plain\n; charset=utf-16',
    'text/plain; charset=utf\u0000-16',
    'text/pläin',
    'text/plain (charset=utf-16)',
  ])('%j is read as none', (field) => {
    expect(parseMediaType(field)).toBeNull()
  })

  test('has at most one charset, which is the only one that any search finds in the field', () => {
    const part = fc.constantFrom(
      ...['text/plain', ';', ' ', '=', '"', 'charset', '*', 'utf-8', 'utf-16', 'x', ',', "'", '\\'],
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const media = parseMediaType(`text/plain${parts.join('')}`)
        if (media === null) return
        const found = [...`text/plain${parts.join('')}`.matchAll(/charset/gi)]
        expect(found).toHaveLength(media.charset === null ? 0 : 1)
      }),
      { numRuns: 3000 },
    )
  })
})

test.each([
  ['application/json;', 'application/json'],
  ['Application/JSON;charset=UTF-8;', 'application/json; charset=UTF-8'],
  ['application/json ; charset=utf-8', 'application/json; charset=utf-8'],
  [' text/plain;; x="a b" ; ', 'text/plain; x="a b"'],
  // A sender may have signed these.
  ['text/plain;charset="utf-8"', 'text/plain;charset="utf-8"'],
  ['text/plain ; charset', 'text/plain ; charset'],
])('%j is %j for the next reader', (field, plain) => {
  expect(plainMediaType(field)).toBe(plain)
})

test('the next reader receives the same media type, and nothing unusual', () => {
  const part = fc.constantFrom(...[';', ' ', '\t', ';a=1', ';b="x y"', '; charset=utf-8', 'x'])
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
      const field = `text/plain${parts.join('')}`
      const media = parseMediaType(field)
      const plain = plainMediaType(field)
      expect(parseMediaType(plain)).toEqual(media)
      if (media !== null) expect(plain).not.toMatch(/[ \t];|;[ \t]*(?:;|$)|\s$/)
    }),
  )
})

test.each([
  ['application/json', true],
  ['application/vnd.countersign.receipt+json', true],
  ['text/json', true],
  ['application/jsonl', false],
  ['application/octet-stream', false],
  ['image/svg+json', false],
])('content of type %s is parsed as JSON: %s', (essence, isJson) => {
  expect(isJsonEssence(essence)).toBe(isJson)
})
