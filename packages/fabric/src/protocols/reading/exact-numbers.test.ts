import fc from 'fast-check'
import { expect, test } from 'vitest'
import { visitExactNumbers } from './exact-numbers.ts'

function numbersOf(json: string): readonly string[] {
  const found: string[] = []
  visitExactNumbers(json, 256, (digits) => found.push(digits))
  return found
}

test('an integer is read digit by digit, wherever it stands, and in no string', () => {
  const integer = fc.bigInt({ min: 1n, max: 10n ** 40n })
  fc.assert(
    fc.property(integer, fc.string(), (given, name) => {
      const json = `[{${JSON.stringify(name)}: -${given}}, "${given}", ${given}]`
      expect(numbersOf(json)).toEqual([String(given), String(given)])
    }),
  )
})

test.each([
  ['1.23456789012345678e17', '123456789012345678'],
  ['123456789012345678.0', '123456789012345678'],
  ['12345678901234567.8E+1', '123456789012345678'],
  ['1234567890123456780e-1', '123456789012345678'],
  ['0.000123456789012345678e21', '123456789012345678'],
  ['1e17', '100000000000000000'],
])('%s is read as %s', (written, digits) => {
  expect(numbersOf(written)).toEqual([digits])
})

test.each(['0', '0.5', '1e300', '1e-5', '5e999999', '"9"', '"\\"9"'])(
  '%s holds no id',
  (written) => {
    expect(numbersOf(written)).toEqual([])
  },
)
