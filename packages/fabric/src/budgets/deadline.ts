import { setDeadline, systemClock } from '../lib/clock.ts'

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

/** The time that a caller gave its request, from the moment at which all of it was here. */
export class CallerDeadline {
  readonly #endsAt: number

  constructor(ms: number) {
    this.#endsAt = systemClock.monotonic() + ms
  }

  /** 0 once it has passed. */
  leftMs(): number {
    return Math.max(0, Math.floor(this.#endsAt - systemClock.monotonic()))
  }
}

/** As `AbortSignal.any` of both, which costs several times as much and is left to the collector. */
export function createDeadline(
  caller: AbortSignal,
  ownMs: number,
  given: CallerDeadline | null = null,
): Deadline {
  const controller = new AbortController()
  let timedOut = false
  const leave = (): void => controller.abort(caller.reason)
  const give = (ms: number): (() => void) => {
    const leftMs = given?.leftMs() ?? ms
    return setDeadline(Math.min(ms, leftMs), () => {
      timedOut = true
      // Only the first of them counts as a failure of the receiver (`verdictOnFailure`).
      const reason =
        ms <= leftMs
          ? new DOMException('no answer within the limit', 'TimeoutError')
          : new DOMException('the deadline of the caller has passed', 'AbortError')
      controller.abort(reason)
    })
  }
  let cancel = give(ownMs)
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
