import { setDeadline } from '../lib/clock.ts'

/** The time limit for waiting for a receiver, on behalf of a caller that may leave. */
export interface Deadline {
  /** Aborted when the caller leaves, or the time is up. */
  readonly signal: AbortSignal
  timedOut(): boolean
  /** From now on, `ms` more: a stream that has begun has a limit of its own. */
  allow(ms: number): void
  /** Aborts with this cause. */
  fail(cause: Error): void
  /** Nothing is waited for any more. */
  end(): void
}

/** As `AbortSignal.any` of both, which costs several times as much and is left to the collector. */
export function createDeadline(caller: AbortSignal, timeoutMs: number): Deadline {
  const controller = new AbortController()
  let timedOut = false
  const leave = (): void => controller.abort(caller.reason)
  const give = (ms: number): (() => void) =>
    setDeadline(ms, () => {
      timedOut = true
      controller.abort(new DOMException('no answer within the limit', 'TimeoutError'))
    })
  let cancel = give(timeoutMs)
  if (caller.aborted) leave()
  else caller.addEventListener('abort', leave, { once: true })
  return {
    signal: controller.signal,
    timedOut: () => timedOut,
    allow(ms) {
      cancel()
      cancel = give(ms)
    },
    fail: (cause) => controller.abort(cause),
    end() {
      cancel()
      caller.removeEventListener('abort', leave)
    },
  }
}
