import { expect, test } from 'vitest'
import { randomBelow, systemRandom } from './random.ts'

test('bytes are as many as asked for, and never the same twice', () => {
  expect(systemRandom(0)).toHaveLength(0)
  expect(systemRandom(18)).toHaveLength(18)
  expect(systemRandom(16)).not.toEqual(systemRandom(16))
})

test('a number is whole and below its limit', () => {
  const drawn = Array.from({ length: 300 }, () => randomBelow(3))
  expect(new Set(drawn)).toEqual(new Set([0, 1, 2]))
  expect(randomBelow(1)).toBe(0)
})
