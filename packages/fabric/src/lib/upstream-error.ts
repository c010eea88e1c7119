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
