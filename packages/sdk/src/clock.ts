/** The only source of time in the SDK: passed in, so that no test sleeps or stubs a global. */
export interface Clock {
  /** Wall-clock time, Unix milliseconds. */
  now(): number
}

export const systemClock: Clock = { now: () => Date.now() }
