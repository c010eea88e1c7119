/** The only source of time in the SDK: passed in, so that no test sleeps or stubs a global. */
export interface Clock {
  /** Wall-clock time, Unix milliseconds. */
  now(): number
  /**
   * Monotonic milliseconds, for what must not follow a clock that is set; the system's by default.
   */
  monotonic?(): number
}

export const systemClock: Clock = { now: () => Date.now(), monotonic: () => performance.now() }

export function monotonicOf(clock: Clock): number {
  return clock.monotonic?.() ?? performance.now()
}
