import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import {
  equalBytes,
  isMessageBatchInput,
  type SignedBase,
  signedBytesWith,
  toBase64Url,
} from '@countersign/protocol'
import { sha256 } from '../lib/sha256.ts'

/** Keys that are kept; beyond it the oldest one is imported again when it is needed. */
export const ed25519KeysMax = 4_096

/**
 * Roots of batches that are kept for each key, so that no signer makes others' roots verify again:
 * as many as the batches of one signer that are under way at once.
 */
export const batchRootsMax = 8

interface Kept {
  readonly key: KeyObject
  /** Signatures of batches that verified, with what they are over; the newest first. */
  readonly roots: { readonly signature: Uint8Array; readonly bytes: Uint8Array }[]
}

/**
 * Ed25519 public keys, imported once: the import costs a quarter of a verification. A server
 * verifies in the thread that waits for the result; WebCrypto's way through the thread pool costs
 * half as much again.
 */
export class Ed25519Keys {
  readonly #keysMax: number
  readonly #keys = new Map<string, Kept>()

  constructor(keysMax: number = ed25519KeysMax) {
    this.#keysMax = keysMax
  }

  get size(): number {
    return this.#keys.size
  }

  /** Null for bytes that are not a key. */
  find(publicKey: Uint8Array): KeyObject | null {
    return this.#find(publicKey)?.key ?? null
  }

  /** False for a wrong signature and for bytes that are not a key, exactly as `verifyEd25519`. */
  verify(publicKey: Uint8Array, signature: Uint8Array, bytes: Uint8Array): boolean {
    if (signature.length !== 64) return false
    const kept = this.#find(publicKey)
    if (kept === null) return false
    return isMessageBatchInput(bytes)
      ? verifyRoot(kept, signature, bytes)
      : verify(null, bytes, kept.key, signature)
  }

  /** As `verifyMessage`. The signature over the root of a batch is verified once. */
  verifyMessage(publicKey: Uint8Array, signed: SignedBase): boolean {
    const made = signedBytesWith(sha256, signed)
    return made !== null && this.verify(publicKey, made.signature, made.bytes)
  }

  #find(publicKey: Uint8Array): Kept | null {
    const x = toBase64Url(publicKey)
    const known = this.#keys.get(x)
    if (known !== undefined) return known
    const key = importKey(publicKey, x)
    if (key === null) return null
    const [oldest] = this.#keys.keys()
    if (this.#keys.size >= this.#keysMax && oldest !== undefined) this.#keys.delete(oldest)
    const kept = { key, roots: [] }
    this.#keys.set(x, kept)
    return kept
  }
}

/** Compares both: another signature over a root that verified is still to be verified. */
function verifyRoot({ key, roots }: Kept, signature: Uint8Array, bytes: Uint8Array): boolean {
  const isKept = roots.some(
    (kept) => equalBytes(kept.signature, signature) && equalBytes(kept.bytes, bytes),
  )
  if (isKept) return true
  if (!verify(null, bytes, key, signature)) return false
  if (roots.length === batchRootsMax) roots.pop()
  // Copies, because a view would keep the message alive that it came with.
  roots.unshift({ signature: signature.slice(), bytes: bytes.slice() })
  return true
}

function importKey(publicKey: Uint8Array, x: string): KeyObject | null {
  if (publicKey.length !== 32) return null
  try {
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  } catch {
    return null
  }
}
