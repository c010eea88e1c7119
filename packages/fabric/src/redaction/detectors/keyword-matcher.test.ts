import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createKeywordMatcher } from './keyword-matcher.ts'

/** Every `[keyword, end]` that the table reports, read as the detectors read it. */
function findWith(keywords: readonly string[], text: string, caseSensitive: boolean): string[] {
  const { next, classes, outputsFrom, outputs, width } = createKeywordMatcher(keywords, {
    caseSensitive,
  })
  const found: string[] = []
  let state = 0
  for (const [i, byte] of Buffer.from(text, 'latin1').entries()) {
    state = next[state + (classes[byte] ?? 0)] ?? 0
    if (state < outputsFrom) continue
    for (const index of outputs[(state - outputsFrom) / width] ?? [])
      found.push(`${index}@${i + 1}`)
  }
  return found.toSorted()
}

function findSlowly(keywords: readonly string[], text: string): string[] {
  const found: string[] = []
  keywords.forEach((keyword, index) => {
    for (let i = 0; i + keyword.length <= text.length; i++) {
      if (text.startsWith(keyword, i)) found.push(`${index}@${i + keyword.length}`)
    }
  })
  return found.toSorted()
}

const word = fc.string({
  unit: fc.constantFrom('a', 'b', 'c', '@', '-'),
  minLength: 1,
  maxLength: 5,
})

test('a matcher reports exactly the occurrences that a naive search finds', () => {
  const text = fc.string({
    unit: fc.constantFrom('a', 'b', 'c', '@', '-', 'z', '\u00ff'),
    maxLength: 60,
  })
  fc.assert(
    fc.property(fc.uniqueArray(word, { minLength: 1, maxLength: 8 }), text, (keywords, given) => {
      expect(findWith(keywords, given, true)).toEqual(findSlowly(keywords, given))
    }),
  )
})

test('a matcher that ignores case finds a keyword in any, and no other letters', () => {
  expect(findWith(['card', 'tel'], 'Card CARD cArd TEL card', false)).toHaveLength(5)
  expect(findWith(['card'], 'CARD', true)).toEqual([])
  expect(findWith(['a-b'], 'A-B A\rB', false)).toHaveLength(1)
})
