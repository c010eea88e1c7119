import { type Refusal, type RpcId, StatedRefusal, UnknownReference } from '../lib/refusal.ts'
import type { Classified } from './classify.ts'
import { statedStatus } from './http/response-status.ts'

/** The form of a refusal on one transport. */
export interface Wire {
  readonly status: number
  readonly jsonRpc: number
}

/** Properties of a request that decide how the caller's client interprets a response. */
export interface Spoken {
  readonly rpcId: RpcId
  readonly protocol: Classified['protocol']
  /**
   * True if the request names an MCP session: for its client, any 404 is the end of that session.
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
 * Returns the status and the code of a refusal in the protocol in use. If that protocol defines an
 * error for it, its clients look for it in the body of a response with status 200; after a 404, an
 * MCP client would end a session that is still alive.
 */
export function spokenWire(refusal: Refusal, wire: Wire, spoken: Spoken): Wire {
  const isStated = refusal instanceof StatedRefusal
  const given = isStated ? { ...wire, status: statedStatus } : wire
  const code = ownCode(refusal, spoken.protocol)
  if (code !== null) {
    if (spoken.rpcId !== undefined) return { status: 200, jsonRpc: code }
    return spoken.isInSession && given.status === 404 ? { ...given, status: 400 } : given
  }
  // The receiver's own session is unknown: the receiver could also report this by an ordinary 404,
  // and its client must know.
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
