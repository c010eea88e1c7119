import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { toBase64Url } from '@countersign/protocol'

/** Keys that are kept; beyond it the oldest one is imported again when it is needed. */
export const ed25519KeysMax = 4_096

/**
 * Ed25519 public keys, imported once: the import costs a quarter of a verification. A server
 * verifies in the thread that waits for the result; WebCrypto's way through the thread pool costs
 * half as much again.
 */
export class Ed25519Keys {
  readonly #keysMax: number
  readonly #keys = new Map<string, KeyObject>()

  constructor(keysMax: number = ed25519KeysMax) {
    this.#keysMax = keysMax
  }

  get size(): number {
    return this.#keys.size
  }

  /** Null for bytes that are not a key. */
  find(publicKey: Uint8Array): KeyObject | null {
    const x = toBase64Url(publicKey)
    const known = this.#keys.get(x)
    if (known !== undefined) return known
    const key = importKey(publicKey, x)
    if (key === null) return null
    const [oldest] = this.#keys.keys()
    if (this.#keys.size >= this.#keysMax && oldest !== undefined) this.#keys.delete(oldest)
    this.#keys.set(x, key)
    return key
  }

  /** False for a wrong signature and for bytes that are not a key, exactly as `verifyEd25519`. */
  verify(publicKey: Uint8Array, signature: Uint8Array, bytes: Uint8Array): boolean {
    if (signature.length !== 64) return false
    const key = this.find(publicKey)
    return key !== null && verify(null, bytes, key, signature)
  }
}

function importKey(publicKey: Uint8Array, x: string): KeyObject | null {
  if (publicKey.length !== 32) return null
  try {
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  } catch {
    return null
  }
}
