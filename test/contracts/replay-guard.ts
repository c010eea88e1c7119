import { describe, expect, test } from 'vitest'
import type { UsedValues } from '../../packages/fabric/src/identity/replay-guard.ts'

export interface OpenUsedValues {
  readonly values: UsedValues
  /** Lets time pass. */
  wait(ms: number): Promise<void>
}

/** The contract of every engine that remembers used values. */
export function usedValuesContract(
  engine: string,
  {
    open,
    unitMs,
    isExact,
    keptLongerMs = 0,
  }: {
    /** Makes room for about `valuesMax` values, where the engine can be limited to a number. */
    open(valuesMax: number): Promise<OpenUsedValues>
    /** Windows are multiples of it: an engine with a clock of its own needs time for its calls. */
    readonly unitMs: number
    /** True if nothing but `wait` lets time pass, and the number of values is exact. */
    readonly isExact: boolean
    /** The engine remembers each value for as long after its window, for clocks that differ. */
    readonly keptLongerMs?: number
  },
): void {
  describe(`used values in ${engine}`, () => {
    test('lets exactly one of many simultaneous claims through', async () => {
      const { values } = await open(100)
      const claims = await Promise.all(
        Array.from({ length: 20 }, () => values.claim('n', 60 * unitMs)),
      )
      expect(claims.filter(Boolean)).toHaveLength(1)
    })

    test('distinguishes values, and remembers each for its own window', async () => {
      const { values, wait } = await open(100)
      expect(await values.claim('short', unitMs)).toBe(true)
      if (isExact) await wait(0.9 * unitMs)
      expect(await values.claim('short', unitMs)).toBe(false)
      expect(await values.claim('long', 60 * unitMs)).toBe(true)
      await wait(5 * unitMs + keptLongerMs)
      expect(await values.claim('short', unitMs)).toBe(true)
      expect(await values.claim('long', 60 * unitMs)).toBe(false)
    })

    test('does not mix up values that begin alike, are long, or hold any character', async () => {
      const { values } = await open(100)
      const all = ['a', 'a:b', 'a\nb', 'a b', '', 'ä', 'x'.repeat(5_000), 'x'.repeat(5_001)]
      for (const value of all) expect(await values.claim(value, 60 * unitMs)).toBe(true)
      for (const value of all) expect(await values.claim(value, 60 * unitMs)).toBe(false)
    })

    if (isExact) {
      test('refuses when it is full, forgets no live value, recovers', async () => {
        const { values, wait } = await open(10)
        for (let i = 0; i < 10; i++) await values.claim(`n${i}`, 10 * unitMs)
        await expect(values.claim('one more', 10 * unitMs)).rejects.toThrow()
        for (let i = 0; i < 10; i++) expect(await values.claim(`n${i}`, 10 * unitMs)).toBe(false)
        await wait(12 * unitMs)
        expect(await values.claim('one more', 10 * unitMs)).toBe(true)
      })
    }

    test('rejects a meaningless window', async () => {
      const { values } = await open(10)
      for (const windowMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
        await expect(values.claim('n', windowMs)).rejects.toThrow()
      }
    })
  })
}
