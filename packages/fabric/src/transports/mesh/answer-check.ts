import { readSignedResponse, type SignableRequest } from '@countersign/protocol'
import type { MessageSignatures } from '../../identity/message-signatures.ts'
import { Refusal } from '../../lib/refusal.ts'
import { digestFault } from '../../pipeline/authenticate.ts'
import type { UpstreamResponse } from '../http/upstream.ts'

/**
 * Checks the countersignature of an answer that came straight from the receiver's connector: it
 * must be made by the receiver's key, over this body, in answer to this very request. Answers of
 * the fabric itself (refusals, masked bodies by way of the gateway) carry none.
 */
export function checkAnswer(
  signatures: Pick<MessageSignatures, 'checkResponse'>,
  receiver: string,
  answer: {
    readonly response: UpstreamResponse
    readonly request: SignableRequest
    readonly body: Uint8Array
  },
): Refusal | null {
  const { response, request, body } = answer
  const headers = response.headers.map(([name, value]) => [name.toLowerCase(), value] as const)
  try {
    const signed = readSignedResponse({ status: response.status, headers }, request)
    if (signed === null) return null
    if (!signed.components.includes('"signature";req')) {
      return new Refusal('COUNTERSIGNATURE_REJECTED', 'it does not cover our signature')
    }
    const digest = headers.find(([name]) => name === 'content-digest')?.[1] ?? ''
    const fault = digestFault(digest, body)
    if (fault !== null) return new Refusal('COUNTERSIGNATURE_REJECTED', fault)
    return signatures.checkResponse(signed, receiver)
  } catch (cause) {
    return new Refusal('COUNTERSIGNATURE_REJECTED', String(cause))
  }
}
