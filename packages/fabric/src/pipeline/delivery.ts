import type { SignedResponse } from '@countersign/protocol'
import type { FactValue } from '../ledger/ledger.ts'
import type { Refusal, Withdrawal } from '../lib/refusal.ts'
import type { Intended } from './record.ts'

/** One whole event of a streamed response; only `data` is content, `frame` carries id, event, retry. */
export interface StreamEvent {
  readonly data: Uint8Array
  readonly contentType: 'application/json' | 'text/plain'
  readonly frame: readonly (readonly [string, string])[]
}

/** What a receiver answered, as the transport read it; nothing in it is checked yet. */
export interface Delivered {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly contentType: string
  readonly body: Uint8Array | AsyncIterable<StreamEvent>
  /** The callee's RFC 9421 signature with what it covers; null when the response carried none. */
  readonly countersignature: SignedResponse | null
  /** What else the outcome entry has to hold, such as a channel's offset. */
  readonly facts: Readonly<Record<string, FactValue>>
  /**
   * What the transport makes of a whole body after its signature was checked, such as a card whose
   * addresses have to lead through us. Absent where the body passes as it came.
   */
  readonly rewrite?: (body: Uint8Array) => Uint8Array | Refusal
  /** Undoes what the receiver handed out, when the caller may not have it after all. */
  readonly withheld?: () => Promise<void>
}

/** Asks the question of the decision again; null while the exchange may go on. */
export type StillPermitted = () => Withdrawal | null

/**
 * Carries what was intended to its receiver, and comes back with the answer.
 *
 * Takes an `Intended`, so nothing can be carried that is not on record. Gives a refusal when the
 * receiver certainly did not act or its answer cannot be used; throws when it cannot tell, and the
 * outcome is then recorded as indeterminate. A courier that waits before it acts asks `still` first.
 */
export type Courier = (intended: Intended, still: StillPermitted) => Promise<Delivered | Refusal>
