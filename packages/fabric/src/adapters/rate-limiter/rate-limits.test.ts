import { describe, expect, test } from 'vitest'
import { rateLimitsContract } from '../../../../../test/contracts/rate-limits.ts'
import { memoryRateLimits, memoryUnauthenticatedLimits } from './rate-limits.ts'

rateLimitsContract('memory', async (requestsPerMinute) => memoryRateLimits(requestsPerMinute))

/**
 * Reports whether `other` is turned away after `first` spent the one attempt that its place has.
 */
async function sharesPlace(first: string, other: string): Promise<boolean> {
  const limits = memoryUnauthenticatedLimits(1, { now: () => 0, monotonic: () => 0 })
  limits.count(first)
  limits.count(first)
  // The counter answers by a promise.
  await new Promise((resolve) => setImmediate(resolve))
  return !limits.admits(other)
}

describe('strangers', () => {
  test.each([
    ['203.0.113.7', '203.0.113.7'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff'],
    ['2001:db8::1', '2001:db8:0:0:5::'],
    ['fe80::1%eth0', 'fe80::2'],
    ['::1', '::2'],
  ])('%s and %s are one place', async (first, other) => {
    expect(await sharesPlace(first, other)).toBe(true)
  })

  test.each([
    ['203.0.113.7', '203.0.113.8'],
    ['::ffff:203.0.113.7', '::ffff:203.0.113.8'],
    ['2001:db8:1:2::1', '2001:db8:1:3::1'],
    ['::1', '1::1'],
  ])('%s and %s are two', async (first, other) => {
    expect(await sharesPlace(first, other)).toBe(false)
  })
})
