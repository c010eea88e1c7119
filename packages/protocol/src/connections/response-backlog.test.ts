import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ResponseBacklog } from './response-backlog.ts'

const limits = { stallMs: 30_000, bytesPerSecondMin: 4096 }
const stepMs = 500

/** Samples every half second until a fault; null when there is none. */
function faultOf(samples: Iterable<number>): { fault: string; at: number } | null {
  const backlog = new ResponseBacklog(limits)
  let now = 0
  for (const unsent of samples) {
    now += stepMs
    const fault = backlog.sample(unsent, now)
    if (fault !== null) return { fault, at: now }
  }
  return null
}

/** The rest of `bytes` after each sample, when each takes so many. */
function* taken(bytes: number, perSample: number): Generator<number> {
  for (let left = bytes; left > 0; left -= perSample) yield left
  yield 0
}

describe('a response backlog', () => {
  test('of which nothing is taken is a fault after the stall, and not before', () => {
    const fault = faultOf(Array.from({ length: 1000 }, () => 1))
    expect(fault).toEqual({ fault: 'stalled', at: stepMs + limits.stallMs })
  })

  test('of which a byte is taken now and then is a fault, too', () => {
    const drip = Array.from({ length: 10_000 }, (_, at) => 1_000_000 - Math.floor(at / 50))
    expect(faultOf(drip)?.fault).toBe('slow')
  })

  test('that is taken at the least rate is never a fault, whatever its size', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 64 * 1024 * 1024 }),
        fc.integer({ min: limits.bytesPerSecondMin / 2, max: 1024 * 1024 }),
        (bytes, perSample) => {
          expect(faultOf(taken(bytes, perSample))).toBeNull()
        },
      ),
      { numRuns: 50 },
    )
  })

  test('ends in a bounded time, whatever its peer does', () => {
    const bytesMax = 1024 * 1024
    // A peer that takes nothing at all may only hold it for the stall, and each byte for the rate.
    const samplesMax = (limits.stallMs + (bytesMax / limits.bytesPerSecondMin) * 1000) / stepMs + 2
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: bytesMax }),
        fc.array(fc.integer({ min: 0, max: 4096 }), { minLength: 1, maxLength: 100 }),
        (bytes, pattern) => {
          const backlog = new ResponseBacklog(limits)
          let left = bytes
          let samples = 0
          for (;;) {
            samples += 1
            if (left <= 0 || backlog.sample(left, samples * stepMs) !== null) break
            left -= pattern[samples % pattern.length] ?? 0
          }
          expect(samples).toBeLessThanOrEqual(samplesMax)
        },
      ),
      { numRuns: 200 },
    )
  })

  test('that is always full but drains in between is never a fault', () => {
    const backlog = new ResponseBacklog(limits)
    for (let now = 0; now < 3_600_000; now += stepMs) {
      expect(backlog.sample(16_384, now)).toBeNull()
      backlog.drained()
    }
  })

  test('weighs by its bytes and by the time for which none was taken', () => {
    const [large, slow] = [new ResponseBacklog(limits), new ResponseBacklog(limits)]
    large.sample(1000, 0)
    slow.sample(100, 0)
    expect(large.weight(0)).toBeGreaterThan(slow.weight(0))
    large.sample(900, 10_000)
    slow.sample(100, 10_000)
    expect(slow.weight(20_000)).toBeLessThan(large.weight(20_000) * 2)
    expect(slow.weight(20_000)).toBeGreaterThan(slow.weight(10_000))
  })
})
