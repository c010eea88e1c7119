import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createdAheadMsMax } from '../lib/clock.ts'
import { createReplayGuard, type UsedValues } from './replay-guard.ts'

const never = Number.NEGATIVE_INFINITY

/** An engine that remembers for ever, until it loses everything. */
function openEngine() {
  let at = 1_800_000_000_000
  let lostAt = never
  let claimed = new Set<string>()
  const engine: UsedValues = {
    async claim(value) {
      const isFirst = !claimed.has(value)
      claimed.add(value)
      return isFirst
    },
    lostAt: () => lostAt,
  }
  return {
    engine,
    guard: createReplayGuard(engine, { now: () => at }),
    now: () => at,
    lose() {
      claimed = new Set()
      lostAt = at
    },
    advance(ms: number) {
      at += ms
    },
  }
}

test('no value is accepted twice, whenever values are lost and however far ahead it was made', async () => {
  const step = fc.oneof(
    fc.record({ value: fc.nat(2), aheadMs: fc.integer({ min: -90_000, max: 25_000 }) }),
    fc.record({ waitMs: fc.integer({ min: 0, max: 30_000 }) }),
    fc.constant('lose' as const),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { guard, lose, advance, now } = openEngine()
      const createdAt = new Map<number, number>()
      const accepted = new Set<number>()
      for (const one of steps) {
        if (one === 'lose') lose()
        else if ('waitMs' in one) advance(one.waitMs)
        else {
          const { value } = one
          // The time is signed, so that it is the same whenever the value is presented.
          const at = createdAt.get(value) ?? now() + one.aheadMs
          createdAt.set(value, at)
          const use = { value: String(value), createdAt: at, windowMs: 1_000 }
          const isFirst = await guard.claim(use).catch(() => false)
          if (isFirst) expect(accepted.has(value)).toBe(false)
          if (isFirst) accepted.add(value)
        }
      }
    }),
  )
})

test('after a loss, a value is good again once it is newer than the permitted difference', async () => {
  const { guard, lose, advance, now } = openEngine()
  const claim = (value: string, createdAt: number) =>
    guard.claim({ value, createdAt, windowMs: 1_000 })
  expect(await claim('a', now() - 60_000)).toBe(true)
  lose()
  const lostAt = now()
  await expect(claim('b', lostAt)).rejects.toThrow('may have been lost')
  await expect(claim('b', lostAt + createdAheadMsMax)).rejects.toThrow('may have been lost')
  advance(1)
  expect(await claim('b', lostAt + createdAheadMsMax + 1)).toBe(true)
})

test('a loss that the claim itself discovers refuses the value', async () => {
  let lostAt = never
  const engine: UsedValues = {
    async claim() {
      lostAt = 1_000_000
      return true
    },
    lostAt: () => lostAt,
  }
  const guard = createReplayGuard(engine, { now: () => 1_000_000 })
  const use = { value: 'n', createdAt: 1_000_000, windowMs: 1 }
  await expect(guard.claim(use)).rejects.toThrow('may have been lost')
})

test.each([Number.NaN, Number.POSITIVE_INFINITY, 1_000_000 + createdAheadMsMax + 1])(
  'a value that was made at %s is refused',
  async (createdAt) => {
    const engine: UsedValues = { claim: async () => true, lostAt: () => never }
    const guard = createReplayGuard(engine, { now: () => 1_000_000 })
    await expect(guard.claim({ value: 'n', createdAt, windowMs: 1 })).rejects.toThrow(RangeError)
  },
)
