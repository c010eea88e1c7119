import { responseProfileFault, type SignedResponse } from '@countersign/protocol'
import type { MessageSignatures } from '../identity/message-signatures.ts'
import { Refusal } from '../lib/refusal.ts'
import { digestFault } from './authenticate.ts'

/** A countersigned answer as it arrived, on whichever side of the mesh or at the gateway. */
export interface Countersigned {
  readonly signed: SignedResponse
  readonly receiver: string
  /**
   * The request signature that the response has to answer: the caller's wherever the caller signed.
   */
  readonly answers: 'caller' | 'fabric'
  /** With names in lower case. */
  readonly headers: readonly (readonly [string, string])[]
  /** Null for a stream: only its head is signed. */
  readonly body: Uint8Array | null
}

/**
 * Returns the reason why a countersignature is invalid, or null. It must be made by the receiver's
 * key, over this status and body, in answer to this very request. A wrong one is worse than none,
 * and never passes as unsigned.
 */
export function countersignatureFault(
  { signed, receiver, answers, headers, body }: Countersigned,
  signatures: Pick<MessageSignatures, 'checkResponse'>,
): Refusal | null {
  const rejected = (detail: string) => new Refusal('COUNTERSIGNATURE_REJECTED', detail)
  const missing = responseProfileFault(signed, { label: answers, isWhole: body !== null })
  if (missing !== null) return rejected(missing)
  if (body !== null) {
    const [digest, ...others] = headers.filter(([name]) => name === 'content-digest')
    // A reader could take another one than the one that is compared here.
    if (others.length > 0) return rejected('it covers two digests of the response')
    const fault = digestFault(digest?.[1] ?? '', body)
    if (fault !== null) return rejected(fault)
  }
  const fault = signatures.checkResponse(signed, receiver)
  return fault === null ? null : rejected(fault.detail)
}
