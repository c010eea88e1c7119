import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { displayWidth, fitText, legible } from './display-width.ts'

describe('the width of text', () => {
  test.each([
    ['abc', 3],
    ['é', 1],
    ['e\u0301', 1],
    ['日本', 4],
    ['👩👧', 4],
    ['\u1100\u1161\u11a8', 4],
    ['\u0915\u094d\u0937', 2],
    ['a\u0903\u0903', 3],
    ['#\ufe0f', 2],
    ['', 0],
  ])('of %s is %i columns', (text, width) => {
    expect(displayWidth(text)).toBe(width)
  })

  test('is never more than what it is fitted to, and short text is left alone', () => {
    const text = fc.string({ unit: 'grapheme' })
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 30 }), (raw, columns) => {
        const shown = legible(raw)
        const fitted = fitText(shown, columns)
        expect(displayWidth(fitted)).toBeLessThanOrEqual(columns)
        if (displayWidth(shown) <= columns) expect(fitted).toBe(shown)
        else expect(fitted.endsWith('…')).toBe(true)
      }),
    )
  })
})

/** Ordinary characters, and those with which a terminal is steered or a reader misled. */
const steering = fc.string({
  unit: fc.constantFrom(
    ...['a', ' ', 'é', '日', '👩', '\u0000', '\u0007', '\u001b', '\u007f', '\u009b', '\r', '\n'],
    ...['\t', '\u200b', '\u200f', '\u202e', '\u2028', '\u2066', '\ufeff', '\u061c'],
  ),
})

describe('legible text', () => {
  test('holds no character that steers a terminal', () => {
    fc.assert(
      fc.property(steering, (text) => {
        expect(legible(text)).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069\u200b\ufeff]/u)
      }),
    )
  })

  test('is what it was when nothing in it steers, and does not change again', () => {
    expect(legible('Zoë pays 4 €')).toBe('Zoë pays 4 €')
    fc.assert(
      fc.property(steering, (text) => {
        expect(legible(legible(text))).toBe(legible(text))
      }),
    )
  })
})
