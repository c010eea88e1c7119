import { describe, expect, test } from 'vitest'
import type { ReplayGuard } from '../../packages/fabric/src/identity/replay-guard.ts'

/**
 * The contract of every replay guard. `wait` lets time pass for it; `open` makes space for
 * `noncesMax`.
 */
export function replayGuardContract(
  engine: string,
  open: (noncesMax: number) => Promise<{ guard: ReplayGuard; wait: (ms: number) => Promise<void> }>,
): void {
  describe(`replay guard on ${engine}`, () => {
    test('lets exactly one of many simultaneous claims through', async () => {
      const { guard } = await open(100)
      const claims = await Promise.all(Array.from({ length: 20 }, () => guard.claim('n', 60_000)))
      expect(claims.filter(Boolean)).toHaveLength(1)
    })

    test('distinguishes nonces, and remembers each for its own window', async () => {
      const { guard, wait } = await open(100)
      expect(await guard.claim('short', 1_000)).toBe(true)
      expect(await guard.claim('long', 60_000)).toBe(true)
      await wait(900)
      expect(await guard.claim('short', 1_000)).toBe(false)
      await wait(5_000)
      expect(await guard.claim('short', 1_000)).toBe(true)
      expect(await guard.claim('long', 60_000)).toBe(false)
    })

    test('refuses when it is full rather than forget a live nonce, and recovers', async () => {
      const { guard, wait } = await open(10)
      for (let i = 0; i < 10; i++) await guard.claim(`n${i}`, 10_000)
      await expect(guard.claim('one more', 10_000)).rejects.toThrow()
      for (let i = 0; i < 10; i++) expect(await guard.claim(`n${i}`, 10_000)).toBe(false)
      await wait(12_000)
      expect(await guard.claim('one more', 10_000)).toBe(true)
    })

    test('rejects a meaningless window', async () => {
      const { guard } = await open(10)
      for (const windowMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
        await expect(guard.claim('n', windowMs)).rejects.toThrow()
      }
    })
  })
}
