/**
 * Reasons why a sealed message was not opened. Each is a separate dead-letter reason, and none
 * reaches the receiver's code.
 */
export const SEAL_FAILURES = {
  MALFORMED: 'the bytes are not a sealed message',
  SUITE_REFUSED: 'the channel does not allow this suite',
  BAD_SIGNATURE: 'the sender did not sign this, here',
  WRONG_EPOCH: 'the receiver has no part in this epoch of the channel',
  EXPIRED: 'the message is past its not-after time',
  REPLAYED: 'a message with this place in its session was completed before',
  UNKNOWN_KEY: 'no key of this session was found for the receiver',
  UNDECRYPTABLE: 'the key does not open it, or what it holds contradicts its header',
} as const

export type SealFailureCode = keyof typeof SEAL_FAILURES

/** An answer, not an accident: opening gives it back and never throws it. */
export class SealFailure {
  readonly code: SealFailureCode
  /** For the receiver's operator; part of the dead letter's reason. Printable ASCII. */
  readonly detail: string

  constructor(code: SealFailureCode, detail: string) {
    this.code = code
    this.detail = detail
  }
}
