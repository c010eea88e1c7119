import { describe, expect, test } from 'vitest'
import type { RateLimits } from '../../packages/fabric/src/pipeline/quota.ts'
import { agentKey } from '../harness/principals.ts'

/** The contract of every engine that counts the requests of callers. */
export function rateLimitsContract(
  engine: string,
  open: (requestsPerMinute: number) => Promise<RateLimits>,
): void {
  describe(`rate limits in ${engine}`, () => {
    test('the allowance is spent by as many requests, and by no other caller', async () => {
      const limits = await open(3)
      for (const remaining of [2, 1, 0]) {
        const quota = await limits.spend(agentKey('alice'), 'billing')
        expect(quota).toMatchObject({ limit: 3, remaining, exhausted: false })
      }
      const refused = await limits.spend(agentKey('alice'), 'billing')
      expect(refused).toMatchObject({ limit: 3, remaining: 0, exhausted: true })
      expect((await limits.spend(agentKey('bob'), 'billing')).remaining).toBe(2)
      expect((await limits.spend(agentKey('alice'), 'shipping')).remaining).toBe(2)
    })

    test('names that are alike when they are joined are counted apart', async () => {
      const limits = await open(1)
      for (const [caller, receiver] of [
        ['a', 'bc'],
        ['ab', 'c'],
        ['abc', ''],
        ['', 'abc'],
      ] as const) {
        expect((await limits.spend(agentKey(caller), receiver)).exhausted).toBe(false)
      }
    })

    test('simultaneous requests spend no more than the allowance', async () => {
      const limits = await open(10)
      const quotas = await Promise.all(
        Array.from({ length: 25 }, () => limits.spend(agentKey('alice'), 'billing')),
      )
      expect(quotas.filter(({ exhausted }) => !exhausted)).toHaveLength(10)
    })

    test('a window ends within a minute, and requests do not make it longer', async () => {
      const limits = await open(1)
      const first = await limits.spend(agentKey('alice'), 'billing')
      const second = await limits.spend(agentKey('alice'), 'billing')
      expect(first.resetMs).toBeGreaterThan(0)
      expect(first.resetMs).toBeLessThanOrEqual(60_000)
      expect(second.resetMs).toBeLessThanOrEqual(first.resetMs)
    })
  })
}
