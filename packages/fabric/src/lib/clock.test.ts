import { stat } from 'node:fs/promises'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { setDeadline } from './clock.ts'

afterEach(() => void vi.useRealTimers())

function stall(): void {
  const end = performance.now() + 100
  while (performance.now() < end);
}

describe('a deadline', () => {
  test('comes once its time has gone by, and not when it was cancelled', () => {
    vi.useFakeTimers()
    const came = vi.fn()
    setDeadline(1_000, came)
    const cancel = setDeadline(500, came)
    vi.advanceTimersByTime(499)
    cancel()
    vi.advanceTimersByTime(500)
    expect(came).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(came).toHaveBeenCalledTimes(1)
    vi.runAllTimers()
    expect(came).toHaveBeenCalledTimes(1)
  })

  test.each([1, 50])(
    'of %i ms does not come before a result that a stall kept waiting',
    async (ms) => {
      const late = vi.fn()
      const cancel = setDeadline(ms, late)
      const result = stat('.').then(cancel)
      stall()
      await result
      expect(late).not.toHaveBeenCalled()
    },
  )

  test('comes after a stall that left no result', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    setDeadline(1, resolve)
    stall()
    await expect(promise).resolves.toBeUndefined()
  })

  test('can be cancelled while it waits for a turn after a stall', async () => {
    const late = vi.fn()
    const cancel = setDeadline(1, late)
    const { promise, resolve } = Promise.withResolvers<void>()
    setTimeout(() => {
      cancel()
      setImmediate(() => resolve())
    }, 1)
    stall()
    await promise
    expect(late).not.toHaveBeenCalled()
  })
})
