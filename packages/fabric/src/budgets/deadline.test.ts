import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDeadline } from './deadline.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('a deadline', () => {
  test('ends when the time is up, and reports the timeout', () => {
    const deadline = createDeadline(new AbortController().signal, 100)
    vi.advanceTimersByTime(99)
    expect(deadline.signal.aborted).toBe(false)
    vi.advanceTimersByTime(1)
    expect([deadline.signal.aborted, deadline.timedOut()]).toEqual([true, true])
  })

  test('gives a stream that has begun its own time, from then on', () => {
    const deadline = createDeadline(new AbortController().signal, 100)
    vi.advanceTimersByTime(90)
    deadline.allow(1_000)
    vi.advanceTimersByTime(999)
    expect(deadline.signal.aborted).toBe(false)
    vi.advanceTimersByTime(1)
    expect(deadline.signal.aborted).toBe(true)
  })

  test('ends with the caller, which is not a timeout', () => {
    const caller = new AbortController()
    const deadline = createDeadline(caller.signal, 100)
    caller.abort()
    expect([deadline.signal.aborted, deadline.timedOut()]).toEqual([true, false])
    const late = createDeadline(caller.signal, 100)
    expect(late.signal.aborted).toBe(true)
  })

  test('that has ended lets nothing happen any more', () => {
    const caller = new AbortController()
    const deadline = createDeadline(caller.signal, 100)
    deadline.end()
    caller.abort()
    vi.advanceTimersByTime(200)
    expect(deadline.signal.aborted).toBe(false)
  })
})
