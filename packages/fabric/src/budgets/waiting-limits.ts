import { overLimit } from '../lib/limits.ts'
import { Refusal } from '../lib/refusal.ts'
import type { TimeAccount } from '../pipeline/large-bodies.ts'

/**
 * The time that a request waits for a thread, in each lane. Nothing was delivered: it may be sent
 * again.
 */
const requestLimit = { name: 'work.waitMs', value: 30_000, unit: 'ms' } as const
/** The receiver has acted, so an answer is given up later: it cannot be requested again. */
const answerLimit = { name: 'work.answerWaitMs', value: 60_000, unit: 'ms' } as const
const retryAfterMs = 1_000

/**
 * Calls `end` once a message has waited for as long as it may, or when it is not wanted any more.
 * Returns the function that stops this. The number that wait is bounded by the memory that they
 * occupy.
 */
export function limitWait(
  { isAnswer, left }: TimeAccount,
  end: (refusal: Refusal) => void,
): () => void {
  const timer = setTimeout(
    () => end(isAnswer ? lateAnswer() : lateRequest()),
    (isAnswer ? answerLimit : requestLimit).value,
  ).unref()
  const leave = (): void => {
    end(new Refusal(isAnswer ? 'OUTCOME_UNKNOWN' : 'UNDECIDED', 'the caller left'))
  }
  if (left?.aborted === true) queueMicrotask(leave)
  else left?.addEventListener('abort', leave, { once: true })
  return () => {
    clearTimeout(timer)
    left?.removeEventListener('abort', leave)
  }
}

function lateRequest(): Refusal {
  return overLimit('OVERLOADED', requestLimit, 'messages wait for inspection', retryAfterMs)
}

function lateAnswer(): Refusal {
  return overLimit('OUTCOME_UNKNOWN', answerLimit, 'answers wait for inspection')
}
