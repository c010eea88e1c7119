import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Shares } from './shares.ts'

describe('shares of a limit', () => {
  test('however greedy the others are, a newcomer finds room, and the total is never exceeded', () => {
    const takes = fc.array(fc.tuple(fc.nat(5), fc.boolean()), { maxLength: 400 })
    fc.assert(
      fc.property(takes, fc.integer({ min: 8, max: 60 }), (steps, totalMax) => {
        const shares = new Shares(totalMax)
        for (const [owner, takesOne] of steps) {
          if (!takesOne) shares.give(`owner-${owner}`)
          else if (shares.hasSpace(`owner-${owner}`)) shares.take(`owner-${owner}`)
          expect(shares.total).toBeLessThanOrEqual(totalMax)
          expect(shares.hasSpace('newcomer')).toBe(true)
        }
      }),
    )
  })

  test('an owner has no more than its own maximum, and gives back no more than it took', () => {
    const shares = new Shares(100, 3)
    for (let at = 0; at < 3; at++) shares.take('a')
    expect(shares.hasSpace('a')).toBe(false)
    expect(shares.hasSpace('b')).toBe(true)
    for (let at = 0; at < 5; at++) shares.give('a')
    expect([shares.total, shares.largest]).toEqual([0, 0])
  })
})
