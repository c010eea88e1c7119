import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isFabricName } from './fabric-name.ts'

test.each([
  'countersign-refusal',
  'COUNTERSIGN_x',
  '\u200b c\u00adountersign\u2011',
  '\uff43ountersign\u2212a',
  'countersi\u0301gn-',
  '\u{1d41c}ountersign-',
  ' '.repeat(300),
])('%j is a name of the fabric, or may be read as one', (name) => {
  expect(isFabricName(name)).toBe(true)
})

test.each(['countersign', 'countersigned-x', 'x-countersign-a', 'message', '', '7'])(
  '%j is not one',
  (name) => {
    expect(isFabricName(name)).toBe(false)
  },
)

test('nothing behind the name, and nothing unseen in it, changes that', () => {
  const unseen = fc.string({
    unit: fc.constantFrom(' ', '\u200d', '\u0301', '\u2060'),
    maxLength: 9,
  })
  fc.assert(
    fc.property(fc.array(unseen, { minLength: 12, maxLength: 12 }), fc.string(), (gaps, rest) => {
      const name = Array.from('countersign-')
        .map((each, at) => `${gaps[at]}${each}`)
        .join('')
      expect(isFabricName(`${name}${rest}`)).toBe(true)
    }),
  )
})

// `normalize` took four minutes for it, longer than a test may.
test('a megabyte of marks is read once', () => {
  const marks = `${'\u0301'.repeat(250_000)}${'\u0323'.repeat(250_000)}`
  expect(isFabricName(`a${marks}`)).toBe(false)
  expect(isFabricName(`c${marks}`)).toBe(true)
})
