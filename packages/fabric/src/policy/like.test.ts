import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compilePattern, formatPattern } from './like.ts'

const elements = fc.array(
  fc.oneof(
    fc.constant('Wildcard'),
    fc.constantFrom('a', 'b', '*').map((Literal) => ({ Literal })),
  ),
  { maxLength: 7 },
)

/** The definition itself: try every split. Exponential, and obviously right. */
function matches(pattern: readonly unknown[], text: string): boolean {
  const [first, ...rest] = pattern
  if (first === undefined) return text === ''
  if (first !== 'Wildcard') {
    return (
      text !== '' &&
      (first as { Literal: string }).Literal === text[0] &&
      matches(rest, text.slice(1))
    )
  }
  return matches(rest, text) || (text !== '' && matches(pattern, text.slice(1)))
}

test('a pattern matches exactly what some choice of its wildcards spells', () => {
  const texts = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 })
  fc.assert(
    fc.property(elements, texts, (pattern, text) => {
      expect(compilePattern(pattern)(text)).toBe(matches(pattern, text))
    }),
    { numRuns: 1000 },
  )
})

test('many wildcards on a long text that does not match end at once', () => {
  const pattern = Array.from({ length: 60 }, () => ['Wildcard', { Literal: 'a' }]).flat()
  expect(compilePattern([...pattern, { Literal: 'b' }])('a'.repeat(50_000))).toBe(false)
})

test('a literal star is written differently from a wildcard', () => {
  expect(formatPattern(['Wildcard', { Literal: '*' }, { Literal: '"' }])).toBe('"*\\*\\""')
})
