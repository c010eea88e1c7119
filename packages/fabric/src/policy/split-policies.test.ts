import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { positionsIn, splitPolicies } from './split-policies.ts'

describe('splitting a file into policies', () => {
  test('semicolons in strings and comments end nothing', () => {
    const source = '// a; "b\npermit(x) when { "; \\" ;" };\n  forbid(y) // ; tail\n ;// end;'
    const texts = splitPolicies(source).map(({ text }) => text)
    expect(texts).toEqual(['permit(x) when { "; \\" ;" };', 'forbid(y) // ; tail\n ;'])
  })

  test('text behind the last semicolon is kept, so that the parser can refuse it', () => {
    expect(splitPolicies('a;\n b').map(({ text }) => text)).toEqual(['a;', 'b'])
    expect(splitPolicies('a "unclosed ; ').map(({ text }) => text)).toEqual(['a "unclosed ; '])
  })

  test('every piece stands at its stated place, with only blanks and comments between', () => {
    const source = fc.string({
      unit: fc.constantFrom('a', ';', '"', '\\', '/', '\n', ' '),
      maxLength: 40,
    })
    fc.assert(
      fc.property(source, (text) => {
        let at = 0
        for (const piece of splitPolicies(text)) {
          expect(text.startsWith(piece.text, piece.start)).toBe(true)
          const between = text.slice(at, piece.start).replaceAll(/\/\/.*/g, '')
          expect(between.trim()).toBe('')
          at = piece.start + piece.text.length
        }
        expect(
          text
            .slice(at)
            .replaceAll(/\/\/.*/g, '')
            .trim(),
        ).toBe('')
      }),
      { numRuns: 1000 },
    )
  })

  test('positions count lines and columns from one', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', '\n', '\r') }),
        fc.nat(40),
        (text, offset) => {
          const before = text.slice(0, offset).split('\n')
          const column =
            Math.min(offset, text.length) -
            (before.slice(0, -1).join('\n').length + (before.length > 1 ? 1 : 0)) +
            1
          expect(positionsIn(text)(Math.min(offset, text.length))).toEqual({
            line: before.length,
            column,
          })
        },
      ),
    )
  })
})
