import { type Clock, createdAheadMsMax } from '../lib/clock.ts'

/** A value that is good for one use, such as the nonce of a signature or the id of an assertion. */
export interface SingleUse {
  /** Unique over all kinds of values: the kind, or the key that signed it, is part of it. */
  readonly value: string
  /** The time at which it was made, as its maker signed it; Unix milliseconds. */
  readonly createdAt: number
  /** The time for which its other checks would accept it again. */
  readonly windowMs: number
}

/** Admits each value once. */
export interface ReplayGuard {
  /**
   * True for exactly one of any number of claims of a value within its window.
   *
   * Rejects when the guard cannot decide: it is full, its engine is out of reach, or a value as old
   * as this one may have been lost. Callers must treat that as already used.
   */
  claim(use: SingleUse): Promise<boolean>
}

/** An engine that remembers used values. `createReplayGuard` adds the rule about losses. */
export interface UsedValues {
  /**
   * Claims `value` for `windowMs`. True for exactly one of any number of calls within the window.
   *
   * Rejects when it cannot decide, a full engine included. A live value is never forgotten to make
   * room: an attacker would only have to send enough.
   */
  claim(value: string, windowMs: number): Promise<boolean>
  /**
   * The last time (Unix milliseconds of this process's clock, not earlier than the loss) at which
   * values may have been lost; negative infinity if none ever was. A loss that a claim discovers is
   * in it when the claim settles.
   */
  lostAt(): number
}

/** Signed again, the same request succeeds: it is the value that is too old, not the caller. */
class LostValues extends Error {
  override readonly name = 'LostValues'

  constructor(lostAt: number) {
    const at = new Date(lostAt).toISOString()
    super(
      `used values may have been lost at ${at}, and values made until ${createdAheadMsMax / 1000} s after that are refused`,
    )
  }
}

/** The one place that decides which values a loss makes unusable; engines only report losses. */
export function createReplayGuard(values: UsedValues, clock: Pick<Clock, 'now'>): ReplayGuard {
  const assertNotLost = (createdAt: number): void => {
    const lostAt = values.lostAt()
    // Written so that a time that is not a number is refused.
    if (!(createdAt > lostAt + createdAheadMsMax)) throw new LostValues(lostAt)
  }
  return {
    async claim({ value, createdAt, windowMs }) {
      // Otherwise it could have been used before a loss however much later than that it was made.
      if (!(createdAt <= clock.now() + createdAheadMsMax)) {
        throw new RangeError('the value was made ahead of time')
      }
      assertNotLost(createdAt)
      const isFirst = await values.claim(value, windowMs)
      // The claim itself may have discovered the loss.
      assertNotLost(createdAt)
      return isFirst
    },
  }
}
