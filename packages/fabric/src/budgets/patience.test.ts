import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createPatience } from './patience.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('patience', () => {
  test('ends when the time is up, and says so', () => {
    const patience = createPatience(new AbortController().signal, 100)
    vi.advanceTimersByTime(99)
    expect(patience.signal.aborted).toBe(false)
    vi.advanceTimersByTime(1)
    expect([patience.signal.aborted, patience.timedOut()]).toEqual([true, true])
  })

  test('gives a stream that has begun its own time, from then on', () => {
    const patience = createPatience(new AbortController().signal, 100)
    vi.advanceTimersByTime(90)
    patience.allow(1_000)
    vi.advanceTimersByTime(999)
    expect(patience.signal.aborted).toBe(false)
    vi.advanceTimersByTime(1)
    expect(patience.signal.aborted).toBe(true)
  })

  test('ends with the caller, which is no time-out', () => {
    const caller = new AbortController()
    const patience = createPatience(caller.signal, 100)
    caller.abort()
    expect([patience.signal.aborted, patience.timedOut()]).toEqual([true, false])
    const late = createPatience(caller.signal, 100)
    expect(late.signal.aborted).toBe(true)
  })

  test('that has ended lets nothing happen any more', () => {
    const caller = new AbortController()
    const patience = createPatience(caller.signal, 100)
    patience.end()
    caller.abort()
    vi.advanceTimersByTime(200)
    expect(patience.signal.aborted).toBe(false)
  })
})
