import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { createRedactor } from '../scan/create-redactor.ts'

/* The promise of SECURITY.md, "Layers": two layers of any escape over any class, in any order. */
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function mask(body: string, contentType = 'text/plain'): string {
  const order = { mask: ['credential', 'card', 'email', 'ssn', 'iban'], block: [] }
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(`${answer.code} ${answer.detail}`)
  return new TextDecoder().decode(answer.body)
}

const hex = (letter: string, digits: number): string =>
  letter.charCodeAt(0).toString(16).padStart(digits, '0')
const octal = (letter: string): string => letter.charCodeAt(0).toString(8)

/** Each takes one character of ASCII. */
const ESCAPES: Readonly<Record<string, (letter: string) => string>> = {
  percent: (letter) => `%${hex(letter, 2)}`,
  'long percent': (letter) => `%u${hex(letter, 4)}`,
  'JSON and JavaScript': (letter) => `\\u${hex(letter, 4)}`,
  'code point in braces': (letter) => `\\u{${hex(letter, 2)}}`,
  'code point in braces with zeros': (letter) => `\\u{${hex(letter, 40)}}`,
  hexadecimal: (letter) => `\\x${hex(letter, 2)}`,
  'hexadecimal in braces': (letter) => `\\x{${hex(letter, 2)}}`,
  'long escape of Python': (letter) => `\\U${hex(letter, 8)}`,
  'three octal digits': (letter) => `\\${octal(letter).padStart(3, '0')}`,
  'octal in braces': (letter) => `\\o{${octal(letter)}}`,
  'name of Perl': (letter) => `\\N{U+${hex(letter, 4)}}`,
  'decimal reference': (letter) => `&#${letter.charCodeAt(0)};`,
  'decimal reference with zeros': (letter) => `&#${'0'.repeat(30)}${letter.charCodeAt(0)};`,
  'hexadecimal reference': (letter) => `&#x${hex(letter, 2)};`,
  'hexadecimal reference with zeros': (letter) => `&#X${hex(letter, 30)};`,
}

const SECRETS: Readonly<Record<string, { text: string; gone: string }>> = {
  credential: { text: 'x password=hunter22x', gone: 'hunter22x' },
  email: { text: 'x jo@acme.com', gone: 'acme.com' },
  card: { text: 'x 4111 1111 1111 1111', gone: '1111 1111' },
  ssn: { text: 'x 078-05-1120', gone: '1120' },
  iban: { text: 'x DE89370400440532013000', gone: '0532013000' },
}

/**
 * Escapes some characters of a text, and every one that would begin an escape itself, as encoders
 * do.
 */
function escaped(text: string, kind: string, at: readonly boolean[]): string {
  const escape = ESCAPES[kind] ?? ((letter: string) => letter)
  const lead = escape('a').charAt(0)
  return text
    .split('')
    .map((letter, i) =>
      letter === lead || (i > 1 && at[i % at.length] === true) ? escape(letter) : letter,
    )
    .join('')
}

const kinds = fc.constantFrom(...Object.keys(ESCAPES))
const places = fc.array(fc.boolean(), { minLength: 3, maxLength: 9 })

describe('an escape', () => {
  test('of any kind hides nothing, in one layer and in two', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.values(SECRETS)),
        fc.tuple(kinds, places),
        fc.option(fc.tuple(kinds, places)),
        (given, [inner, at], outer) => {
          const { text, gone } = given
          let body = escaped(text, inner, at)
          if (outer !== null) body = escaped(body, outer[0], outer[1])
          const masked = mask(body)
          expect(masked, body).not.toContain(gone)
          expect(masked, body).toMatch(/\[[A-Z]+/)
        },
      ),
      { numRuns: 1_500, seed: 20_263 },
    )
  })

  test('may have any number of backslashes', () => {
    for (let count = 1; count <= 9; count++) {
      const slashes = '\\'.repeat(count)
      expect(mask(`jo${slashes}u0040acme.com`)).not.toContain('acme')
      expect(mask(`jo${slashes}100acme.com`)).not.toContain('acme')
      expect(mask(`p${slashes}x61ssword=hunter22x`)).not.toContain('hunter22x')
    }
  })

  test.each([
    'jo\\@acme.com',
    'jo\\0@acme.com',
    'jo\\b@acme.com',
    'jo\\v\\f\\a@acme.com',
    'jo\\N{COMMERCIAL AT}acme.com',
    'jo\\N{Commercial At}acme.com',
    'jo@\\\nacme.com',
    'jo@\\\r\n  acme.com',
    'jo&#6%34;acme.com',
    'jo&#6&#52;;acme.com',
    '&#106&#111&#6%34;acme.com',
    'jo\\10%30acme.com',
    'jo&#x4\\x30;acme.com',
    'jo\\%750040acme.com',
    'jo&ZeroWidthSpace;@acme.com',
  ])('is read in each way that it can be: %j', (text) => {
    expect(mask(text)).not.toContain('acme')
    expect(mask(JSON.stringify({ x: text }), 'application/json')).not.toContain('acme')
    expect(
      mask(JSON.stringify({ x: JSON.stringify({ y: text }) }), 'application/json'),
    ).not.toContain('acme')
  })

  test.each(['pass\\\nword=hunter22x', 'pass\\\\\\nword=hunter22x', 'pa\\ess\\bword=hunter22x'])(
    'does not part a name: %j',
    (text) => {
      expect(mask(text)).not.toContain('hunter22x')
    },
  )

  test('of a surrogate pair is one letter', () => {
    expect(mask('\\ud835\\udc29assword=hunter22x')).not.toContain('hunter22x')
  })

  test('that is none stays: a path, a group, a bare ampersand', () => {
    for (const text of [
      'C:\\\\apps\\\\files',
      'a & b &#; &#x; &#99999999999;',
      '\\u{110000} \\N{NO}',
    ]) {
      expect(mask(text)).toBe(text)
    }
  })
})
