import type { SignedMessage, SignedRequest, SignedResponse } from '@countersign/protocol'
import { equalBytes } from '@countersign/protocol'
import { type Clock, createdAheadMsMax } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Caller } from './caller.ts'
import type { AgentRecord, Directory } from './directory.ts'
import { Ed25519Keys } from './ed25519-keys.ts'
import type { MessageSignatures } from './message-signatures.ts'
import { findAgent } from './principals.ts'
import type { ReplayGuard } from './replay-guard.ts'

/** Maximum age of a signature by our clock: transit, queues and clock skew. */
const createdAgeMsMax = 60_000

/** 96 random bits are 16 characters; a few hundred bits are more than enough. */
const nonceLengthMax = 128
const nonceLengthMin = 16

export interface MessageSignatureDeps {
  readonly directory: Directory
  readonly replayGuard: ReplayGuard
  readonly clock: Clock
  /**
   * Signatures that this process has just made with the key that they name. They are not computed
   * again, and their nonces are not claimed: they are random and new, whatever was lost before.
   * Owner and age are checked as for any other.
   */
  readonly own?: WeakSet<SignedMessage>
}

/** Checks message signatures against the keys of the directory. */
export function createMessageSignatures(deps: MessageSignatureDeps): MessageSignatures {
  const { directory, replayGuard, clock } = deps
  const keys = new Ed25519Keys()
  const verifies = (
    signed: SignedResponse,
    signer: AgentRecord,
    verifiedBy?: Uint8Array,
  ): boolean => {
    const key = signer.keys?.signing
    if (key === undefined || key.keyId !== signed.keyId) return false
    if (deps.own?.has(signed) === true) return true
    if (verifiedBy !== undefined && equalBytes(verifiedBy, key.publicKey)) return true
    return keys.verifyMessage(key.publicKey, signed)
  }

  return {
    checkRequest: async (signed, caller, verifiedBy) => {
      const now = clock.now()
      const signer = directory.findBySigningKey(signed.keyId)
      const fault = faultOfRequest(signed, now) ?? faultOfSigner(signer, caller)
      if (fault !== null) return new Refusal('SIGNATURE_REJECTED', fault)
      if (signer === null || !verifies(signed, signer, verifiedBy)) {
        return new Refusal('SIGNATURE_REJECTED', `the signature of ${signed.keyId} does not verify`)
      }
      // Verified first: otherwise any caller could use up another agent's nonces, or fill the
      // guard.
      const createdAt = signed.created * 1000
      const windowMs = createdAt + createdAgeMsMax - now + 1_000
      const value = `${signed.keyId}:${signed.nonce}`
      const isOwn = deps.own?.has(signed) === true
      const isFirst = isOwn || (await replayGuard.claim({ value, createdAt, windowMs }))
      return isFirst
        ? null
        : new Refusal('MESSAGE_REPLAYED', `nonce of ${signed.keyId} seen before`)
    },
    checkResponse: (signed, receiver) => {
      const signer = findAgent(directory, receiver)
      if (!signer?.keys) {
        return new Refusal('COUNTERSIGNATURE_REJECTED', `${receiver} has no key`)
      }
      return verifies(signed, signer)
        ? null
        : new Refusal('COUNTERSIGNATURE_REJECTED', `not signed with the key of ${receiver}`)
    },
    findPublicKey: (keyId) =>
      directory.findBySigningKey(keyId)?.keys?.signing.publicKey.slice() ?? null,
  }
}

function faultOfRequest(signed: SignedRequest, now: number): string | null {
  const createdMs = signed.created * 1000
  if (createdMs < now - createdAgeMsMax) return 'created is more than a minute ago'
  if (createdMs > now + createdAheadMsMax) return 'created is more than 20 seconds ahead'
  if (signed.expires !== null && signed.expires * 1000 < now) return 'the signature has expired'
  const length = signed.nonce?.length ?? 0
  if (length < nonceLengthMin || length > nonceLengthMax) return 'the nonce is missing or absurd'
  return null
}

function faultOfSigner(signer: AgentRecord | null, caller: Caller): string | null {
  if (signer === null) return 'the key is not in the directory'
  // A caller may only act for itself, even if it has obtained another agent's signature.
  return signer.name === caller.name && signer.kind === caller.kind
    ? null
    : `the key is that of ${signer.name}, the caller is ${caller.name}`
}
