import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ownText } from './own-text.ts'

test('every text is the same in memory of its own, half of a surrogate pair included', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(ownText(text)).toBe(text)
    }),
  )
  for (const text of ['', 'name', 'naïve', 'пароль', '\ud800x', 'x\udfff', '\0']) {
    expect(ownText(text)).toBe(text)
  }
})
