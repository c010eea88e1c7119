import type { BodyShare } from '../budgets/body-budget.ts'
import { evicted, UpstreamError } from '../lib/upstream-error.ts'

/** The end of a response of which a part was dropped before it was returned. */
export function droppedError({ evicted: refusal }: BodyShare): UpstreamError {
  if (refusal !== null) return evicted(refusal)
  return new UpstreamError('the rest was dropped', { progress: 'sent', cause: null })
}
