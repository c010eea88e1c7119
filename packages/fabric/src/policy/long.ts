import { EvaluationError } from './evaluation-error.ts'

/**
 * Cedar's 64-bit integer in its one canonical form: a `number` while it is a safe integer, a
 * `bigint` beyond. The form is unique, so `===` is equality; `<` works across both.
 */
export type Long = number | bigint

const longMin = -(2n ** 63n)
const longMax = 2n ** 63n - 1n

export function toLong(value: bigint): Long {
  if (value < longMin || value > longMax) {
    throw new EvaluationError('the result does not fit into 64 bits')
  }
  const small = Number(value)
  return Number.isSafeInteger(small) ? small : value
}

/**
 * A double is exact exactly when it is safe: a true result beyond 2^53 never rounds to a safe one.
 */
export function addLongs(a: Long, b: Long): Long {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b
    if (Number.isSafeInteger(sum)) return sum
  }
  return toLong(BigInt(a) + BigInt(b))
}

export function subtractLongs(a: Long, b: Long): Long {
  if (typeof a === 'number' && typeof b === 'number') {
    const difference = a - b
    if (Number.isSafeInteger(difference)) return difference
  }
  return toLong(BigInt(a) - BigInt(b))
}

export function multiplyLongs(a: Long, b: Long): Long {
  if (typeof a === 'number' && typeof b === 'number') {
    const product = a * b
    // Adding zero turns -0 into 0, which has one form only.
    if (Number.isSafeInteger(product)) return product + 0
  }
  return toLong(BigInt(a) * BigInt(b))
}

/** Towards zero, as Cedar's durations divide. */
export function divideLongs(a: Long, b: number): Long {
  return toLong(BigInt(a) / BigInt(b))
}
