import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isOperationName } from '../log/mesh-facts.ts'
import { legible, quotedUnlessWord } from './legible.ts'

const texts = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc
    .array(fc.constantFrom('a', ' ', '"', '\\', ',', '\u201d', '\u{202e}', 'u{201d}'), {
      maxLength: 12,
    })
    .map((parts) => parts.join('')),
)

test('a value among other words is one word, or a quotation that nothing in it ends', () => {
  fc.assert(
    fc.property(texts, (text) => {
      const shown = quotedUnlessWord(text)
      expect(legible(shown)).toBe(shown)
      if (!shown.startsWith('"')) {
        expect(shown).toBe(text)
        expect(shown).not.toMatch(/[\s,;()"'\\<>[\]{}\p{Pi}\p{Pf}]|^-|^$/u)
        return
      }
      expect(shown).toMatch(/^"(?:[^"\\\p{Pi}\p{Pf}]|\\.)*"$/u)
    }),
  )
  expect(quotedUnlessWord('spiffe://a.test/agent/b')).toBe('spiffe://a.test/agent/b')
  expect(quotedUnlessWord('pay, signed')).toBe('"pay, signed"')
})

test('two values are never shown alike', () => {
  fc.assert(
    fc.property(texts, texts, (one, other) => {
      fc.pre(one !== other)
      expect(quotedUnlessWord(one)).not.toBe(quotedUnlessWord(other))
    }),
  )
})

test('an operation is the name of a method, and of none of administration', () => {
  const good = ['SendMessage', 'tools/call', 'POST', 'M-SEARCH', 'notifications/x.y', 'session/end']
  expect(good.filter((name) => !isOperationName(name))).toEqual([])
  const bad = [
    '',
    'agent.revoke',
    'a b',
    'a,b',
    'a"b',
    '/a',
    'a/',
    'a//b',
    'a\n',
    'é',
    'a'.repeat(257),
  ]
  expect(bad.filter(isOperationName)).toEqual([])
})
