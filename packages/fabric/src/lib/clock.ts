/** The only source of time: passed in, so that no test sleeps or stubs a global. */
export interface Clock {
  /** Wall-clock time, Unix milliseconds. */
  now(): number
  /** Monotonic milliseconds, for durations and leases. */
  monotonic(): number
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
}

/** Milliseconds of processor time that this thread has used: what others run meanwhile is not in it. */
export function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}
