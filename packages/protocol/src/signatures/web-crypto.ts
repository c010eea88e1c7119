/** The only calls into WebCrypto: verification runs unchanged in browsers, Node and workers. */

/** A synchronous SHA-256 that a server passes in where waiting would cost more than hashing. */
export type Hash = (bytes: Uint8Array) => Uint8Array

/**
 * An Ed25519 verification that a server passes in, for the same reason. False for a wrong signature
 * and for bytes that are not a key; accepts nothing that `verifyEd25519` does not.
 */
export type VerifySignature = (
  publicKey: Uint8Array,
  signature: Uint8Array,
  bytes: Uint8Array,
) => boolean | Promise<boolean>

// WebCrypto wants memory that is not shared; the copy also fixes the bytes while it works.
function own(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}

export async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', own(bytes)))
}

/**
 * False for a wrong signature and for bytes that are not a key. Rejects where Ed25519 is missing.
 */
export async function verifyEd25519(
  publicKey: Uint8Array,
  signature: Uint8Array,
  bytes: Uint8Array,
): Promise<boolean> {
  if (publicKey.length !== 32 || signature.length !== 64) return false
  let key: Awaited<ReturnType<typeof crypto.subtle.importKey>>
  try {
    key = await crypto.subtle.importKey('raw', own(publicKey), 'Ed25519', false, ['verify'])
  } catch (error) {
    // Only a platform without the algorithm may look different from a bad key: it cannot decide.
    if (error instanceof DOMException && error.name === 'NotSupportedError') throw error
    return false
  }
  return crypto.subtle.verify('Ed25519', key, own(signature), own(bytes))
}
