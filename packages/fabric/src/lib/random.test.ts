import { expect, test } from 'vitest'
import { systemRandom } from './random.ts'

test('small and large requests get as many bytes as they ask for, each in memory of its own', () => {
  for (const count of [0, 1, 10, 63, 64, 65, 4096, 5000]) {
    const bytes = systemRandom(count)
    expect(bytes).toHaveLength(count)
    expect(bytes.buffer.byteLength).toBe(count)
  }
})

test('no bytes are given out twice, however often the pool is filled again', () => {
  const given = new Set<string>()
  for (let i = 0; i < 2000; i++) given.add(systemRandom(16).join())
  expect(given.size).toBe(2000)
})

test('a value that is not a count is refused', () => {
  for (const count of [-1, Number.NaN]) expect(() => systemRandom(count)).toThrow(RangeError)
})
