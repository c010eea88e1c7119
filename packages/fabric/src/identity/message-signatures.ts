import type { SignedRequest, SignedResponse } from '@countersign/protocol'
import type { Refusal } from '../lib/refusal.ts'
import type { Caller } from './caller.ts'

/** Checks the signatures of the two ends of an exchange (RFC 9421) against the directory's keys. */
export interface MessageSignatures {
  /**
   * Null when `signed` was made by `caller`'s own key, recently, and never before: the nonce is
   * claimed here. SIGNATURE_REJECTED or MESSAGE_REPLAYED otherwise. Rejects when the replay guard
   * cannot decide. The signature is not computed again if it has been verified by the key
   * `verifiedBy` and that is the caller's own; everything else is checked as for any other.
   */
  checkRequest(
    signed: SignedRequest,
    caller: Caller,
    verifiedBy?: Uint8Array,
  ): Promise<Refusal | null>
  /** Null when `signed` was made by the key that `receiver` enrolled with. */
  checkResponse(signed: SignedResponse, receiver: string): Refusal | null
  /** The raw Ed25519 public key of that key id, for the ledger; null when unknown. */
  findPublicKey(keyId: string): Uint8Array | null
}
