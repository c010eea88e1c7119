/**
 * The algorithms of keys. A name has one for ever: a statement that names a key also fixes how its
 * signatures are checked.
 */
export type KeyAlgorithm = 'Ed25519' | 'P-256' | 'AES-256-GCM'

/** One version of a key that still verifies or decrypts. */
export interface KeyVersion {
  /** From 1, one more with each rotation. */
  readonly version: number
  readonly algorithm: KeyAlgorithm
  /** SubjectPublicKeyInfo in DER; null for a key that encrypts. */
  readonly publicKey: Uint8Array | null
  /** Unix milliseconds. From here on the version is not to be accepted; null for the newest. */
  readonly retiresAt: number | null
}

export interface KeySignature {
  /** The version that signed. */
  readonly version: number
  /** 64 bytes: Ed25519 (RFC 8032), or P-256 with SHA-256 as r ‖ s (RFC 7518, section 3.4). */
  readonly signature: Uint8Array
}

export interface Rotation {
  /** The newest version as the caller knows it. Another one is left as it is. */
  readonly from: number
  /** The time for which `from` still verifies or decrypts. */
  readonly overlapMs: number
}

/**
 * Named keys whose private halves stay with their engine: the secret store, a vault, a KMS.
 *
 * Each call may wait for a network. No commit and no request to an agent does: they use a local key
 * that a key of this port certified. A request for an access token waits for its signature. Every
 * method rejects with a `KeyFault` and with nothing else, and an engine settles each call, by a
 * timeout of its own client if need be.
 */
export interface KeyProvider {
  /** Names the engine in errors and logs. */
  readonly engine: string
  /**
   * Resolves to the versions that are to be accepted, newest first. Makes the key if there is none,
   * where the engine is permitted to: of several processes, all go on with the key of the first.
   */
  open(name: string, algorithm: KeyAlgorithm): Promise<readonly KeyVersion[]>
  /** Signs at most `signedBytesMax` bytes with the newest version, also during a rotation. */
  sign(name: string, bytes: Uint8Array): Promise<KeySignature>
  /**
   * Encrypts at most `plaintextBytesMax` bytes (a master key, a data key) under the newest version.
   * `context` is authenticated and not stored: decryption needs the same one.
   */
  encrypt(name: string, plaintext: Uint8Array, context: string): Promise<Uint8Array>
  /**
   * Decrypts under the version that encrypted, unless its overlap is over: until then, the caller
   * has to encrypt anew.
   */
  decrypt(name: string, ciphertext: Uint8Array, context: string): Promise<Uint8Array>
  /**
   * Makes the next version, durable when it resolves, and resolves to the newest. If the newest is
   * not `from` any more, nothing is made: a repeated call after a lost answer rotates once.
   */
  rotate(name: string, rotation: Rotation): Promise<KeyVersion>
}

/** AWS KMS signs no longer message without hashing it first, which Ed25519 does not permit. */
export const signedBytesMax = 4096

/** RSA-OAEP with SHA-256 under 2,048 bits, by which Azure Key Vault wraps, takes 190 bytes. */
export const plaintextBytesMax = 128

/** Versions of one key; a rotation beyond it is refused. Daily rotations reach it in 11 years. */
export const keyVersionsMax = 4096

export type KeyFaultCode =
  /** The engine cannot be reached, or its storage is damaged. May succeed later. */
  | 'KEY_UNAVAILABLE'
  /** No answer in time. A rotation may have happened. */
  | 'KEY_TIMEOUT'
  /** The credentials of this process do not permit the call. */
  | 'KEY_NOT_PERMITTED'
  /** No key has this name, and this call does not make one. */
  | 'KEY_UNKNOWN'
  /** The key, the bytes or the ciphertext do not fit the call. The same call never succeeds. */
  | 'KEY_REJECTED'

/** A key could not be used. The message names the key, the engine and the remedy. */
export class KeyFault extends Error {
  override readonly name = 'KeyFault'
  readonly code: KeyFaultCode

  constructor(code: KeyFaultCode, detail: string, options?: ErrorOptions) {
    super(detail, options)
    this.code = code
  }
}

/** Returns the newest of the versions that `open` resolved to. */
export function newestVersion(versions: readonly KeyVersion[]): KeyVersion {
  const [newest] = versions
  if (newest === undefined) throw new KeyFault('KEY_UNKNOWN', 'the key has no version')
  return newest
}
