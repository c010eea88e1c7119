import fc from 'fast-check'
import { expect, test } from 'vitest'
import { replayGuardContract } from '../../../../../test/contracts/replay-guard.ts'
import { memoryReplayGuard } from './replay-guard.ts'

function openGuard(noncesMax: number) {
  let at = 0
  const clock = { now: () => 0, monotonic: () => at }
  const guard = memoryReplayGuard({ clock, noncesMax })
  const wait = async (ms: number) => {
    at += ms
  }
  return { guard, wait }
}

replayGuardContract('memory', async (noncesMax) => openGuard(noncesMax))

test('the guard answers as a list of claims would, and keeps no more than it must', async () => {
  const step = fc.record({
    nonce: fc.constantFrom('a', 'b', 'c'),
    windowMs: fc.integer({ min: 1, max: 5_000 }),
    waitMs: fc.oneof(fc.integer({ min: 0, max: 3_000 }), fc.constant(1_000_000)),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const { guard, wait } = openGuard(100)
      const ends = new Map<string, number>()
      let at = 0
      for (const { nonce, windowMs, waitMs } of steps) {
        const live = (ends.get(nonce) ?? 0) > at
        expect(await guard.claim(nonce, windowMs)).toBe(!live)
        if (!live) ends.set(nonce, at + windowMs)
        await wait(waitMs)
        at += waitMs
      }
      await wait(10_000)
      await guard.claim('last', 1)
      expect(guard.size()).toBe(1)
    }),
  )
})
