import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { inTurns, overLimit, Turns } from './limits.ts'

describe('a limit', () => {
  test('a refusal over a limit names it for the caller and the ledger', () => {
    const limit = { name: 'limits.bodyBytes', value: 1024, unit: 'bytes' } as const
    const refusal = overLimit('MESSAGE_TOO_LARGE', limit, 'the body has 2000 bytes')
    expect(refusal.limit).toBe('limits.bodyBytes, 1 KiB')
    expect(refusal.detail).toBe('the body has 2000 bytes; over limits.bodyBytes, 1 KiB')
    expect(overLimit('MESSAGE_TOO_LARGE', limit).detail).toBe('over limits.bodyBytes, 1 KiB')
  })
})

test('work is done in order, and no turn does more than its part', async () => {
  const turns = new Turns(4)
  const done: number[] = []
  for (let each = 0; each < 10; each++) turns.add(() => done.push(each))
  expect(done).toEqual([])
  const seen: number[] = []
  while (done.length < 10) {
    await new Promise((resolve) => setImmediate(resolve))
    seen.push(done.length)
  }
  expect(done).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  for (const [at, count] of seen.entries())
    expect(count - (seen[at - 1] ?? 0)).toBeLessThanOrEqual(4)
})

test('an owner of many waits behind the first of every other one', () => {
  expect(inTurns([['a1', 'a2', 'a3'], ['b1'], ['c1', 'c2']])).toEqual([
    ...['a1', 'b1', 'c1', 'a2', 'c2', 'a3'],
  ])
  fc.assert(
    fc.property(fc.array(fc.array(fc.nat())), (groups) => {
      const numbers = (each: readonly number[]) => each.toSorted((a, b) => a - b)
      expect(numbers(inTurns(groups))).toEqual(numbers(groups.flat()))
    }),
  )
})
