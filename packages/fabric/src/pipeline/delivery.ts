import { mayHaveActed, type RefusalCode, type SignedResponse } from '@countersign/protocol'
import type { FactValue } from '../ledger/ledger.ts'
import { type Maybe, Refusal, StatedRefusal, Withdrawal } from '../lib/refusal.ts'
import type { Exchange } from './exchange.ts'
import type { FrameCodec } from './frames.ts'
import type { Inspected } from './inspect.ts'
import type { Fields } from './inspect-fields.ts'
import type { Intended } from './record.ts'

/**
 * One whole event, or other frame, of a streamed response; only `data` is content, `frame` carries
 * id, event, retry of an event.
 */
export interface StreamEvent {
  readonly data: Uint8Array
  /** The last one of bytes that no detector reads. */
  readonly contentType: 'application/json' | 'text/plain' | 'application/octet-stream'
  /** Of a message of gRPC. */
  readonly isCompressed?: boolean
  readonly frame: readonly (readonly [string, string])[]
  /** It had `data` lines, all of them empty: some readers take its id only for their sake. */
  readonly hasEmptyData?: true
  /** Inspection has put its line breaks into the one form that every reader takes for one. */
  readonly hasPlainBreaks?: true
}

/** The response of a receiver as the transport read it, before any check. */
export interface Delivered {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly contentType: string
  readonly body: Uint8Array | AsyncIterable<StreamEvent>
  /** Of a body whose parts are other frames than events. */
  readonly codec?: FrameCodec
  /** The fields after its last frame, once that was read. Throws for those that may not be. */
  readonly trailers?: () => Fields
  /** The callee's RFC 9421 signature with what it covers; null when the response carried none. */
  readonly countersignature: SignedResponse | null
  /** Further facts of the outcome entry, such as a channel's offset. */
  readonly facts: Readonly<Record<string, FactValue>>
  /**
   * Rewrites a whole body after its signature was checked, such as a card whose addresses have to
   * lead through the fabric. Absent if the body passes as it came.
   */
  readonly rewrite?: (body: Uint8Array) => Uint8Array | Refusal | Promise<Uint8Array | Refusal>
  /** Undoes what the receiver handed out, when the caller may not have it after all. */
  readonly withheld?: () => Promise<void>
}

/** Asks the question of the decision again; null while the exchange may go on. */
export type StillPermitted = () => Withdrawal | null

/** Progress of a delivery that ended without an acceptable response. */
export type Progress =
  /** No byte reached the receiver, or the fabric itself is the receiver and declined. */
  | 'not-sent'
  /** A byte was written and no whole response came back: the receiver may have acted. */
  | 'sent'
  /** The receiver answered, so it acted or may have, and its response is withheld. */
  | 'answered'

/** Codes for a receiver that acted and whose response did not pass. */
export type WithheldCode = Extract<
  RefusalCode,
  | 'RESPONSE_REJECTED'
  | 'STREAM_REJECTED'
  | 'COUNTERSIGNATURE_MISSING'
  | 'COUNTERSIGNATURE_REJECTED'
  | 'WITHDRAWN'
>

/**
 * The cause of a failed delivery; each kind of progress carries what `refusalOf` needs for its
 * code.
 */
export type Failure =
  | {
      readonly progress: 'not-sent'
      readonly detail: string
      readonly declined?: Refusal
      /** Bytes left, and the receiver states that it processed none of them. */
      readonly isStated?: boolean
      readonly limit?: string | null
    }
  | { readonly progress: 'sent'; readonly detail: string; readonly limit?: string | null }
  /** A part of a streamed request was sent, and the fabric ended it before its end. */
  | { readonly progress: 'cut'; readonly detail: string; readonly refusal: Refusal }
  | {
      readonly progress: 'answered'
      readonly refusal: (Refusal & { readonly code: WithheldCode }) | StatedRefusal
    }

/** A delivery that ended without an acceptable response. */
export class Undelivered {
  readonly failure: Failure
  /** Number of times that the message was sent, failed attempts included. */
  readonly attempts: number

  constructor(failure: Failure, attempts: number = 1) {
    this.failure = failure
    this.attempts = attempts
  }
}

/** Reports whether no byte of the request can have reached the receiver. */
export function isNotSent(delivered: unknown): boolean {
  if (!(delivered instanceof Undelivered)) return false
  const { failure } = delivered
  return failure.progress === 'not-sent' && failure.isStated !== true
}

/**
 * The end of an exchange that an adapter hands over to another process, such as a proxy that asks
 * for a decision. This process does not deliver it, and never sees its end.
 */
export class Unobserved {
  /** Further facts of the outcome entry. */
  readonly facts: Readonly<Record<string, FactValue>>

  constructor(facts: Readonly<Record<string, FactValue>> = {}) {
    this.facts = facts
  }
}

/**
 * The only translation of a failed delivery into the code that its caller receives. A retryable
 * code exists for `not-sent` alone: a message that may have been acted on is never reported as
 * unsent.
 */
export function refusalOf({ failure }: Undelivered): Refusal {
  switch (failure.progress) {
    case 'not-sent': {
      const declined = failure.declined ?? new Refusal('RECEIVER_UNREACHABLE', failure.detail)
      if (declined instanceof Withdrawal) return declined.beforeDelivery()
      // No other code may contradict its progress.
      return mayHaveActed(declined.code)
        ? new Refusal('OUTCOME_UNKNOWN', declined.detail)
        : declined
    }
    case 'sent':
      return new Refusal('OUTCOME_UNKNOWN', failure.detail, null, { limit: failure.limit ?? null })
    case 'cut':
    case 'answered':
      return failure.refusal
  }
}

/** The fabric is the receiver, or stands before it, and declined: nothing was done. */
export function declinedBy(refusal: Refusal): Undelivered {
  return new Undelivered({ progress: 'not-sent', detail: refusal.detail, declined: refusal })
}

const withheldCodes: ReadonlySet<RefusalCode> = new Set<WithheldCode>([
  'RESPONSE_REJECTED',
  'STREAM_REJECTED',
  'COUNTERSIGNATURE_MISSING',
  'COUNTERSIGNATURE_REJECTED',
  'WITHDRAWN',
])

/** Reports whether the code means that the receiver acted and its response did not pass. */
export function isWithheld(refusal: Refusal): refusal is Refusal & { readonly code: WithheldCode } {
  return withheldCodes.has(refusal.code)
}

/** Codes of a stage that could not look at a message because it lacked space, time or a thread. */
const ownFaults: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  'OVERLOADED',
  'UNDECIDED',
  'RATE_LIMITED',
  'LEDGER_UNAVAILABLE',
])

/**
 * Returns the refusal of a response or event that could not be inspected. The receiver cannot
 * correct a shortage in the fabric, and no code may claim that the receiver has done nothing.
 */
export function uninspectedAnswer(refusal: Refusal): Refusal {
  const { code, detail, limit } = refusal
  if (code === 'OUTCOME_UNKNOWN' || code === 'RESPONSE_REJECTED') return refusal
  // Limits of `work` are those of our threads; what an answer may hold has limits of other names.
  const isOurs = ownFaults.has(code) || limit?.startsWith('work.') === true
  const given = isOurs ? 'OUTCOME_UNKNOWN' : 'RESPONSE_REJECTED'
  return new Refusal(given, `${code}: ${detail}`, null, { limit })
}

/** The receiver answered, and its response is withheld for the reason of `given`. */
export function withheld(given: Refusal, attempts: number = 1): Undelivered {
  if (isWithheld(given) || given instanceof StatedRefusal)
    return new Undelivered({ progress: 'answered', refusal: given }, attempts)
  const refusal = uninspectedAnswer(given)
  if (isWithheld(refusal)) return new Undelivered({ progress: 'answered', refusal }, attempts)
  const { detail, limit } = refusal
  return new Undelivered({ progress: 'sent', detail, limit }, attempts)
}

/**
 * Carries what was intended to its receiver, and comes back with the answer.
 *
 * Takes an intended exchange, so nothing can be carried that is not on record. Returns a plain
 * `Refusal` when the receiver is part of this process and declined, having done nothing;
 * `Undelivered` when a receiver outside gave no acceptable response. A throw counts as sent: the
 * receiver may have acted. A forwarder that waits before it acts asks `still` first.
 */
export type Forwarder = (
  exchange: Exchange<Intended>,
  still: StillPermitted,
) => Promise<Delivered | Refusal | Undelivered>

/**
 * A receiver inside this process with conditions of its own, such as membership and signatures. The
 * request is checked against them before its intent is recorded; a refusal is recorded like every
 * other. The check returns the forwarder that carries the checked request out.
 */
export interface LocalReceiver {
  check(exchange: Exchange<Inspected>): Maybe<Forwarder>
}
