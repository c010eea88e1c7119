import { readSignedResponse, type SignableRequest } from '@countersign/protocol'
import type { MessageSignatures } from '../../identity/message-signatures.ts'
import { Refusal } from '../../lib/refusal.ts'
import { countersignatureFault } from '../../pipeline/countersignature.ts'
import type { ResponseHead } from '../http/response-head.ts'

export interface ArrivedAnswer {
  readonly head: ResponseHead
  readonly request: SignableRequest
  /** Null for a stream: only its head is signed. */
  readonly body: Uint8Array | null
  /** True if policy requires the receiver to countersign. */
  readonly isRequired: boolean
}

/**
 * Checks the countersignature of an answer that came straight from the receiver's connector: it
 * must be made by the receiver's key, over this body, in answer to this very request. Answers of
 * the fabric itself (refusals, masked bodies by way of the gateway) carry none.
 */
export function checkAnswer(
  signatures: Pick<MessageSignatures, 'checkResponse'>,
  receiver: string,
  { head: { status, headers }, request, body, isRequired }: ArrivedAnswer,
): Refusal | null {
  const rejected = (detail: string) => new Refusal('COUNTERSIGNATURE_REJECTED', detail)
  try {
    const signed = readSignedResponse({ status, headers }, request)
    if (signed === null) {
      return isRequired
        ? new Refusal('COUNTERSIGNATURE_MISSING', `${receiver} did not sign its response`)
        : null
    }
    // The request left here under the caller's own signature, and no other.
    const answers = 'caller' as const
    return countersignatureFault({ signed, receiver, answers, headers, body }, signatures)
  } catch (cause) {
    return rejected(String(cause))
  }
}
