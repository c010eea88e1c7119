import { setTimeout as wait } from 'node:timers/promises'
import { systemClock } from '../../lib/clock.ts'

/** Another process holds the lock of writers for one commit at a time, some milliseconds. */
const busyMs = 5_000
const pauseMs = 5

const busyCode = 5
const lockedCode = 6

/**
 * Runs `work`, again while another process holds the lock that it needs. `work` must leave nothing
 * begun when it throws. Rejects after `busyMs`; nothing was written then.
 */
export async function whenNotBusy<Result>(file: string, work: () => Result): Promise<Result> {
  const began = systemClock.monotonic()
  for (;;) {
    try {
      return work()
    } catch (cause) {
      if (!isBusy(cause)) throw cause
      if (systemClock.monotonic() - began >= busyMs) {
        const fault = `database is locked: another process has held ${file} for ${busyMs} ms`
        throw new Error(`${fault}; nothing was written`, { cause })
      }
    }
    await wait(pauseMs)
  }
}

function isBusy(error: unknown): boolean {
  if (!(error instanceof Error) || !('errcode' in error)) return false
  const { errcode } = error
  if (typeof errcode !== 'number') return false
  return (errcode & 0xff) === busyCode || (errcode & 0xff) === lockedCode
}
