import { AgentError } from '../lib/fault.ts'
import { RefusedError } from './refused.ts'

/**
 * The outcome of a request that was sent twice because the response to the first copy was lost, and
 * whose second copy failed with `second`. The first may have been acted on, so a second that failed
 * before delivery, such as for an exhausted rate limit, does not make the request one to repeat.
 */
export function afterFirst(second: unknown): Error {
  const isAgents = second instanceof AgentError || second instanceof RefusedError
  if (isAgents && second.mayHaveActed) return second
  const failed = isAgents ? second.code : String(second)
  const detail = `the first copy was sent, and the second failed: ${failed}`
  return new AgentError('OUTCOME_UNKNOWN', detail, { cause: second })
}
