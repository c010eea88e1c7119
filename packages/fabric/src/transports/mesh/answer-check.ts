import { readSignedResponse, type SignableRequest } from '@countersign/protocol'
import type { MessageSignatures } from '../../identity/message-signatures.ts'
import { Refusal } from '../../lib/refusal.ts'
import { digestFault } from '../../pipeline/authenticate.ts'
import type { UpstreamResponse } from '../http/upstream.ts'

export interface ArrivedAnswer {
  readonly response: UpstreamResponse
  readonly request: SignableRequest
  /** Null for a stream: only its head is signed. */
  readonly body: Uint8Array | null
  /** Whether policy obliges the receiver to countersign. */
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
  { response, request, body, isRequired }: ArrivedAnswer,
): Refusal | null {
  const headers = response.headers.map(([name, value]) => [name.toLowerCase(), value] as const)
  const rejected = (detail: string) => new Refusal('COUNTERSIGNATURE_REJECTED', detail)
  try {
    const signed = readSignedResponse({ status: response.status, headers }, request)
    if (signed === null) {
      return isRequired
        ? new Refusal('COUNTERSIGNATURE_MISSING', `${receiver} did not sign its response`)
        : null
    }
    const needed = ['"@status"', '"signature";req', ...(body === null ? [] : ['"content-digest"'])]
    const missing = needed.filter((component) => !signed.components.includes(component))
    if (missing.length > 0) return rejected(`it does not cover ${missing.join(', ')}`)
    if (body !== null) {
      const digest = headers.find(([name]) => name === 'content-digest')?.[1] ?? ''
      const fault = digestFault(digest, body)
      if (fault !== null) return rejected(fault)
    }
    return signatures.checkResponse(signed, receiver)
  } catch (cause) {
    return rejected(String(cause))
  }
}
