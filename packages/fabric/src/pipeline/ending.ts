import { type ExchangeResult, wordsLengthMax } from '@countersign/protocol'
import type { FactValue } from '../ledger/ledger.ts'
import { type Refusal, StatedRefusal, Withdrawal } from '../lib/refusal.ts'
import {
  isWithheld,
  type Progress,
  refusalOf,
  type Undelivered,
  uninspectedAnswer,
} from './delivery.ts'

/**
 * The ending of an exchange by a refusal: the recorded result, and the refusal that the caller
 * receives. Made in this file only, so that a result is never chosen apart from its code: every
 * verifier would take the two for different endings.
 */
class RefusedEnding {
  readonly refusal: Refusal
  /** Null for a refusal before delivery, which is what the kind of its entry states. */
  readonly result: ExchangeResult | null
  readonly facts: Readonly<Record<string, FactValue>>

  constructor(
    refusal: Refusal,
    result: ExchangeResult | null,
    facts: Readonly<Record<string, FactValue>> = {},
  ) {
    this.refusal = refusal
    this.result = result
    this.facts = {
      code: refusal.code,
      ...(result === null ? {} : { result }),
      ...facts,
      'private.detail': writable(refusal.detail),
    }
  }
}

/** Of an exchange that was intended, so that it has a result. */
export type IntendedEnding = RefusedEnding & { readonly result: ExchangeResult }
export type { RefusedEnding }

/**
 * A stream that had begun. It breaks off where the outcome is unknown, and is cut where a rule ends
 * it; a refusal that cannot come after delivery is one of an event that we could not inspect.
 */
export function streamEnding(given: Refusal): IntendedEnding {
  if (given instanceof StatedRefusal) return intended(given, 'stated')
  if (isWithheld(given)) return intended(afterDelivery(given), 'cut')
  const refusal = uninspectedAnswer(given)
  return intended(refusal, refusal.code === 'OUTCOME_UNKNOWN' ? 'broken' : 'cut')
}

/** A delivery that ended without an acceptable response. */
export function undeliveredEnding(undelivered: Undelivered): IntendedEnding {
  const refusal = refusalOf(undelivered)
  const { failure, attempts } = undelivered
  const facts = attempts > 1 ? { attempts } : {}
  switch (failure.progress) {
    case 'answered':
      return intended(afterDelivery(refusal), answeredResult(refusal), {
        ...facts,
        ...reached('answered'),
      })
    case 'cut':
      return intended(afterDelivery(refusal), 'cut', facts)
    case 'sent':
      return intended(refusal, 'unknown', { ...facts, ...reached('sent') })
    case 'not-sent':
      // The fabric's own receivers state their own refusals; they may not know whether they have
      // acted.
      return intended(refusal, refusal.code === 'OUTCOME_UNKNOWN' ? 'unknown' : 'refused', {
        ...facts,
        ...(failure.isStated === true ? { 'stated.by': 'receiver' } : {}),
        ...(failure.isStated !== true &&
        (failure.declined === undefined || refusal instanceof Withdrawal)
          ? reached('not-sent')
          : {}),
      })
  }
}

/** The receiver acted, and its caller may not have the response any more. */
export function withheldEnding(lost: Withdrawal): IntendedEnding {
  return intended(afterDelivery(lost), 'withheld', reached('answered'))
}

/** A refusal that is on record by itself. */
export function loneEnding(refusal: Refusal): RefusedEnding {
  if (!refusal.mayHaveActed) return new RefusedEnding(refusal, null)
  const isUnknown = refusal.code === 'OUTCOME_UNKNOWN'
  return new RefusedEnding(refusal, isUnknown ? 'unknown' : answeredResult(refusal))
}

function intended(
  refusal: Refusal,
  result: ExchangeResult,
  facts: Readonly<Record<string, FactValue>> = {},
): IntendedEnding {
  return new RefusedEnding(refusal, result, facts) as IntendedEnding
}

/** The receiver has acted, whenever the right to go on was lost. */
function afterDelivery(refusal: Refusal): Refusal {
  if (!(refusal instanceof Withdrawal) || refusal.mayHaveActed) return refusal
  return new Withdrawal(refusal.reason, refusal.detail)
}

function answeredResult(refusal: Refusal): 'stated' | 'withheld' {
  return refusal instanceof StatedRefusal ? 'stated' : 'withheld'
}

const reached = (progress: Progress) => ({ progress })

/**
 * Returns the callers' text in a form that every entry can hold. The ledger rejects lone surrogates
 * and unbounded facts, and a refusal that could not be recorded would go uncounted.
 */
export function writable(words: string): string {
  return words.slice(0, wordsLengthMax).toWellFormed()
}
