import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { forEachBounded } from './bounded.ts'

test('every item is worked on once, and never more at a time than allowed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(60), fc.integer({ min: 1, max: 9 }), async (count, atOnce) => {
      const done: number[] = []
      let running = 0
      let most = 0
      const items = Array.from({ length: count }, (_, at) => at)
      await forEachBounded(items, atOnce, async (at) => {
        running += 1
        most = Math.max(most, running)
        await Promise.resolve()
        if (at % 3 === 0) await Promise.resolve()
        running -= 1
        done.push(at)
      })
      expect(done.toSorted((a, b) => a - b)).toEqual(items)
      expect(most).toBeLessThanOrEqual(atOnce)
    }),
  )
})

test('the first failure ends the work, after what was under way', async () => {
  const begun: number[] = []
  const ended: number[] = []
  const work = forEachBounded([0, 1, 2, 3, 4, 5], 2, async (at) => {
    begun.push(at)
    if (at === 0) throw new Error('broken')
    await Promise.resolve()
    ended.push(at)
  })
  await expect(work).rejects.toThrow('broken')
  expect(begun).toEqual([0, 1])
  expect(ended).toEqual([1])
})
