import {
  parseSpiffeId,
  principalKey,
  requestSignatureTag,
  type SignedHalf,
} from '@countersign/protocol'
import { Refusal } from '../lib/refusal.ts'
import type { AgentRecord } from './directory.ts'
import type { MessageSignatures } from './message-signatures.ts'
import { callerOf } from './status.ts'

/** The means to distinguish a caller's own action from a connector's word for it. */
export interface CallerProofs {
  readonly signatures: Pick<MessageSignatures, 'checkRequest'>
  find(name: string): AgentRecord | null
}

/** The request of an entry that a connector recorded. */
export interface RecordedRequest {
  /** That the entry names. */
  readonly caller: unknown
  /** The producer that recorded it. */
  readonly producer: string
  /** Its signature, which `verifyEntry` has verified by the key that the entry holds. */
  readonly asked: SignedHalf
}

/**
 * Reports whether the caller that an entry names signed the request, for this connector, just now
 * and for the first time. Claims the nonce, so it must be asked once for each entry.
 */
export async function isProvenRequest(
  { caller, producer, asked }: RecordedRequest,
  { signatures, find }: CallerProofs,
): Promise<boolean> {
  const { signature, base, parsed, key } = asked
  const id = typeof caller === 'string' ? parseSpiffeId(caller) : null
  if (id === null || id.instance !== null) return false
  try {
    const { values, params } = parsed
    if (params.tag !== requestSignatureTag) return false
    if (values.get('"countersign-to"') !== producer) return false
    const proof = { method: 'certificate', credentialId: '', scopes: null, expiresAt: 0 } as const
    const principal = principalKey({ ...id, issuer: id.trustDomain, subject: id.name })
    const signer = callerOf(find(id.name), { ...proof, principal })
    if (signer instanceof Refusal || signer.kind !== id.kind) return false
    const components = [...values.keys()]
    const signed = { ...params, label: 'caller', components, signature, base }
    return (await signatures.checkRequest(signed, signer, key)) === null
  } catch {
    // The replay guard is full: the connector's word alone is not accepted as proof.
    return false
  }
}
