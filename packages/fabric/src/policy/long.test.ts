import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EvaluationError } from './evaluation-error.ts'
import { addLongs, type Long, multiplyLongs, subtractLongs, toLong } from './long.ts'

const min = -(2n ** 63n)
const max = 2n ** 63n - 1n
const edges = [0n, 1n, -1n, 2n ** 53n, 2n ** 53n - 1n, -(2n ** 53n), 2n ** 32n, min, max]
const long = fc
  .oneof(fc.bigInt({ min, max }), fc.constantFrom(...edges), fc.bigInt({ min: -9n, max: 9n }))
  .map(toLong)

const operations = [
  ['addition', addLongs, (a: bigint, b: bigint) => a + b],
  ['subtraction', subtractLongs, (a: bigint, b: bigint) => a - b],
  ['multiplication', multiplyLongs, (a: bigint, b: bigint) => a * b],
] as const

describe('64-bit integers', () => {
  test.each(operations)(
    '%s agrees with exact integers, or fails where 64 bits end',
    (_, ours, exact) => {
      fc.assert(
        fc.property(long, long, (a, b) => {
          const truth = exact(BigInt(a), BigInt(b))
          if (truth < min || truth > max) expect(() => ours(a, b)).toThrow(EvaluationError)
          else expect(BigInt(ours(a, b))).toBe(truth)
        }),
      )
    },
  )

  test('every result has the one form that makes === equality', () => {
    fc.assert(
      fc.property(long, long, (a, b) => {
        let sum: Long
        try {
          sum = addLongs(a, b)
        } catch {
          return
        }
        expect(sum).toBe(toLong(BigInt(a) + BigInt(b)))
        expect(Object.is(sum, -0)).toBe(false)
      }),
    )
    expect(Object.is(multiplyLongs(0, -5), 0)).toBe(true)
  })
})
