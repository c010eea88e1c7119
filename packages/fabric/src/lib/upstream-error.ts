import type { Refusal, Withdrawal } from './refusal.ts'

/** The progress of a request before it failed. */
export type SendProgress =
  /** No byte of it was written to the receiver. */
  | 'not-sent'
  /** At least one byte was written: the receiver may have read all of it, and may have acted. */
  | 'sent'

export interface SendFailure {
  readonly progress: SendProgress
  /**
   * The connection had carried a request before and ended without a byte of a response: most likely
   * the receiver closed it as the request was written (RFC 9112, section 9.3.1).
   */
  readonly stale?: boolean
  /**
   * The receiver states that it processed nothing of what left (RFC 9113, section 8.7). Not sent,
   * by its word alone.
   */
  readonly isStated?: boolean
  /** Number of times that the request was sent, or tried to be. */
  readonly attempts?: number
  /** The limit of ours that ended it, as `lib/limits.ts` writes it. */
  readonly limit?: string | null
  readonly cause: unknown
}

/** The failure of an attempt, so that the caller learns what the receiver can have seen. */
export class UpstreamError extends Error {
  readonly progress: SendProgress
  readonly stale: boolean
  readonly isStated: boolean
  readonly attempts: number
  readonly limit: string | null

  constructor(
    message: string,
    { progress, stale = false, isStated = false, attempts = 1, limit = null, cause }: SendFailure,
  ) {
    super(message, { cause })
    this.name = 'UpstreamError'
    this.progress = progress
    this.stale = stale
    this.isStated = isStated
    this.attempts = attempts
    this.limit = limit
  }
}

/** The end of a response that does not fit in memory. */
export function evicted({ detail, limit }: Refusal): UpstreamError {
  return new UpstreamError(detail, { progress: 'sent', limit, cause: null })
}

/** This process has no room for the request: no receiver is to blame, and nothing left. */
export class OutOfSpaceError extends Error {
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.detail)
    this.name = 'NoRoomError'
    this.refusal = refusal
  }
}

/** All endpoints of the receiver are ejected after failures; nothing left. */
export class EjectedError extends Error {
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.detail)
    this.name = 'EjectedError'
    this.refusal = refusal
  }
}

/** Content that the receiver sends in a stream cannot pass; it has acted all the same. */
export class RejectedError extends Error {
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.detail)
    this.name = 'RejectedError'
    this.refusal = refusal
  }
}

/** The right to send was gone by the time a connection was free; nothing left. */
export class WithdrawnError extends Error {
  readonly refusal: Withdrawal

  constructor(refusal: Withdrawal) {
    super(refusal.detail)
    this.name = 'WithdrawnError'
    this.refusal = refusal
  }
}
