import { describe, expect, test } from 'vitest'
import { PolicyUnsupported } from './cedar-json.ts'
import { assertReadable, bracketDepthMax, operatorsMax } from './policy-bounds.ts'

function nested(depth: number): string {
  return `${'(['.repeat(depth / 2)}1${'])'.repeat(depth / 2)}`
}

describe('the text that is given to the parser', () => {
  test('brackets in one another and operators in a row are bounded', () => {
    expect(() => assertReadable(nested(bracketDepthMax))).not.toThrow()
    expect(() => assertReadable(nested(bracketDepthMax + 2))).toThrow(PolicyUnsupported)
    expect(() => assertReadable('a && '.repeat(operatorsMax))).not.toThrow()
    expect(() => assertReadable('a.b'.repeat(operatorsMax + 1))).toThrow(PolicyUnsupported)
    expect(() => assertReadable('if a then b else '.repeat(operatorsMax + 1))).toThrow(
      PolicyUnsupported,
    )
  })

  test('brackets side by side, in strings and in comments do not count', () => {
    expect(() => assertReadable('([{}])'.repeat(500))).not.toThrow()
    expect(() => assertReadable(`"${'(\\"'.repeat(100)}" // ${'&& ('.repeat(400)}`)).not.toThrow()
  })

  test('a string cannot hide what follows it', () => {
    expect(() => assertReadable(`"\\\\" ${'('.repeat(bracketDepthMax + 1)}`)).toThrow(
      PolicyUnsupported,
    )
  })

  // Looked for again from each of its quotes, the end of the last one takes minutes, longer than a
  // test may.
  test('a string without an end is refused at once', () => {
    for (const text of ['permit(principal == A::"a', `"${'\\"'.repeat(500_000)}`, '"\\']) {
      expect(() => assertReadable(text)).toThrow('a string has no closing quote')
    }
  })
})
