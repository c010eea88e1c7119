import { ROUTE_BOUNDS, type RouteTimeouts } from '@countersign/protocol'
import { UpstreamError } from '../lib/upstream-error.ts'
import type { Verdict } from './endpoint-health.ts'
import type { UpstreamRequest, UpstreamResponse } from './upstream.ts'

/** Calls `act` after `ms`, and not before; the result cancels it. See `setDeadline`. */
export type Timer = (ms: number, act: () => void) => () => void

/** The name of the reason of an abort by a timeout that the route, and not the caller, has set. */
export const TIMED_OUT = 'TimeoutError'

/** `signal`, or a timeout of one attempt before its response has begun. */
export class AttemptSignal {
  readonly #controller = new AbortController()
  readonly #cancel: () => void

  constructor(outer: AbortSignal, ms: number, timer: Timer) {
    const leave = (): void => this.#controller.abort(outer.reason)
    if (outer.aborted) leave()
    else outer.addEventListener('abort', leave, { once: true })
    this.#cancel = timer(ms, () => {
      this.#controller.abort(new DOMException(`no response within ${ms} ms`, TIMED_OUT))
    })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** The response has begun, or the attempt has failed: the rest has the exchange's own bounds. */
  begun(): void {
    this.#cancel()
  }
}

/** Statuses that state a failure of the receiver, or of what stands before it. */
const failing: ReadonlySet<number> = new Set([502, 503, 504])
/** Those after which a repeatable request is sent again. */
const again: ReadonlySet<number> = new Set([429, ...failing])
/** A connector's words about its agent; all its other refusals are about the caller. */
const ofAgent: ReadonlySet<string> = new Set(['RECEIVER_UNREACHABLE', 'OUTCOME_UNKNOWN'])

export function verdictOnResponse({ status, headers }: UpstreamResponse): Verdict {
  if (!failing.has(status)) return 'good'
  const refusal = fieldOf(headers, 'countersign-refusal')
  return refusal === undefined || ofAgent.has(refusal) ? 'bad' : 'good'
}

/** Of what ended an attempt by `signal`, a timeout alone is the endpoint's failure. */
export function verdictOnFailure(cause: unknown, signal: AbortSignal): Verdict {
  if (!(cause instanceof UpstreamError)) return 'none'
  if (!signal.aborted) return cause.progress === 'not-sent' ? 'unreachable' : 'bad'
  const reason: unknown = signal.reason
  const isTimeout = reason instanceof DOMException && reason.name === TIMED_OUT
  // A request that waited for a connection shows only that others have all of them.
  return isTimeout && cause.progress === 'sent' ? 'bad' : 'none'
}

/**
 * Reports whether a request that may be repeated is sent again after this response. A refusal of
 * the caller is final; a connector that did not reach its agent, or lost it, leaves the repeat to
 * us.
 */
export function asksAgain({ status, headers }: UpstreamResponse): boolean {
  if (!again.has(status)) return false
  const refusal = fieldOf(headers, 'countersign-refusal')
  return refusal === undefined || ofAgent.has(refusal)
}

/** Null without the field, and for a date, which would need the receiver's clock. */
export function retryAfterMs({ headers }: UpstreamResponse): number | null {
  const seconds = fieldOf(headers, 'retry-after') ?? ''
  return /^\d{1,9}$/.test(seconds) ? Number(seconds) * 1_000 : null
}

function fieldOf(headers: UpstreamResponse['headers'], name: string): string | undefined {
  return headers.find(([field]) => field.toLowerCase() === name)?.[1]
}

/** The bounds of one attempt that its connection observes. */
export function boundsOf(timeouts: RouteTimeouts): NonNullable<UpstreamRequest['bounds']> {
  const { connectMs, firstByteMs, streamIdleMs } = timeouts
  const isBounded = streamIdleMs < ROUTE_BOUNDS.timeouts.streamIdleMs.max
  return { connectMs, firstByteMs, idleMs: isBounded ? streamIdleMs : 0 }
}
