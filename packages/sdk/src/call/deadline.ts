import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'

/** The time that a call may take, and its caller's own signal. */
export interface CallDeadline {
  readonly signal: AbortSignal | undefined
  /** The answer is whole, or given up. */
  end(): void
}

/** The field by which the fabric learns for how long its caller waits. */
export const TIMEOUT_FIELD = 'countersign-timeout'

/** Throws REQUEST_MALFORMED for a time that the field does not hold. */
export function checkTimeout(timeoutMs: number | undefined): void {
  const isHeld = timeoutMs === undefined || (Number.isInteger(timeoutMs) && timeoutMs > 0)
  if (isHeld && (timeoutMs ?? 0) <= LIMITS.timeoutMsMax) return
  const bounds = `1 to ${LIMITS.timeoutMsMax} milliseconds`
  throw new AgentError('REQUEST_MALFORMED', `\`timeoutMs\` is not a whole number of ${bounds}`)
}

/** Aborts with CALL_TIMED_OUT when the fabric has not answered in time itself. */
export function openDeadline(
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
): CallDeadline {
  if (timeoutMs === undefined) return { signal, end: () => undefined }
  const over = new AbortController()
  const timer = setTimeout(
    () => over.abort(new AgentError('CALL_TIMED_OUT', `${timeoutMs} ms`)),
    timeoutMs + LIMITS.timeoutGraceMs,
  )
  timer.unref()
  return {
    signal: signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]),
    end: () => clearTimeout(timer),
  }
}
