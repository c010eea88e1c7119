import { type Refusal, type RpcId, StatedRefusal, UnknownReference } from '../lib/refusal.ts'
import type { Classified } from './classify.ts'
import { statedStatus } from './http/response-status.ts'

/** How one transport words a refusal. */
export interface Wire {
  readonly status: number
  readonly jsonRpc: number
}

/** What the caller's client makes of an answer. */
export interface Spoken {
  readonly rpcId: RpcId
  readonly protocol: Classified['protocol']
  /**
   * Whether the request names a session of MCP: to its client, any 404 is the end of that session.
   */
  readonly isInSession: boolean
}

export const plainHttp: Spoken = { rpcId: undefined, protocol: 'http', isInSession: false }

/** Of JSON-RPC 2.0, section 5.1. */
const METHOD_NOT_FOUND = -32_601
const INVALID_PARAMS = -32_602
/** Of A2A, `TaskNotFoundError`. */
const TASK_NOT_FOUND = -32_001

/**
 * The status and the code of a refusal as the protocol spoken has them. What the protocols have an
 * error for, their clients look for in the body of a response with status 200; by 404 a client of
 * MCP would end a session that goes on.
 */
export function spokenWire(refusal: Refusal, wire: Wire, spoken: Spoken): Wire {
  const isStated = refusal instanceof StatedRefusal
  const given = isStated ? { ...wire, status: statedStatus } : wire
  const code = ownCode(refusal, spoken.protocol)
  if (code !== null) {
    if (spoken.rpcId !== undefined) return { status: 200, jsonRpc: code }
    return spoken.isInSession && given.status === 404 ? { ...given, status: 400 } : given
  }
  // Of a receiver's own session: it could say so by an ordinary 404 as well, and its client must
  // know.
  const isSession = isStated && spoken.isInSession && refusal.code === 'RECEIVER_UNKNOWN'
  return isSession ? wire : given
}

/**
 * The protocol's own code; null where it has none, or where the receiver or the session is unknown.
 */
function ownCode(refusal: Refusal, protocol: Spoken['protocol']): number | null {
  if (refusal.code === 'OPERATION_UNKNOWN') return METHOD_NOT_FOUND
  const isStated = refusal instanceof StatedRefusal && refusal.isOfReference
  if (!isStated && !(refusal instanceof UnknownReference)) return null
  return protocol === 'a2a' ? TASK_NOT_FOUND : INVALID_PARAMS
}
