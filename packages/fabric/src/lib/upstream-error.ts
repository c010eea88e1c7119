import type { Withdrawal } from './refusal.ts'

/** How an attempt failed, so that the courier knows what the receiver can have seen. */
export class UpstreamError extends Error {
  /** True when no byte of the request reached the receiver: it cannot have acted. */
  readonly unsent: boolean
  readonly timedOut: boolean

  constructor(message: string, kind: { unsent: boolean; timedOut: boolean; cause: unknown }) {
    super(message, { cause: kind.cause })
    this.name = 'UpstreamError'
    this.unsent = kind.unsent
    this.timedOut = kind.timedOut
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
