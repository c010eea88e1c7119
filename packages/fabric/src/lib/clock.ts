import { clockSkewMs } from '@countersign/protocol/tls'

/**
 * The time that the clock of the maker of a signed value may be ahead of ours. After a loss of used
 * values, values are refused for as long: one that was made ahead may have been used before it.
 */
export const createdAheadMsMax: number = clockSkewMs

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

/**
 * Milliseconds since the host was started: one clock for all of its processes, which no operator
 * and no time server sets.
 */
export function hostMonotonic(): number {
  return Number(process.hrtime.bigint() / 1_000_000n)
}

/**
 * Milliseconds of processor time that this thread has used: what others run meanwhile is not in it.
 */
export function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

const slices = 10
/** A timer that is later than this was held up by other work of the event loop. */
const lateMs = 5

/**
 * Calls `act` once `ms` have passed in which the event loop took what came. Timers run before the
 * results that became ready in time, so that after a stall a plain timer would decide against a
 * result that is there. A stall therefore counts as two slices at most, and what it kept waiting is
 * taken first. Calling the function that this returns cancels the deadline. It keeps no process
 * alive.
 */
export function setDeadline(ms: number, act: () => void): () => void {
  const slice = ms / slices
  let left = ms
  let timer: NodeJS.Timeout
  let last: NodeJS.Immediate | undefined
  const wait = (): void => {
    const asked = Math.min(slice, left)
    const began = systemClock.monotonic()
    const look = (): void => {
      const passed = systemClock.monotonic() - began
      left -= Math.min(passed, 2 * slice)
      if (left >= 1) wait()
      else if (passed <= asked + lateMs) act()
      else last = setImmediate(act)
    }
    timer = setTimeout(look, asked).unref()
  }
  wait()
  return () => {
    clearTimeout(timer)
    clearImmediate(last)
  }
}
