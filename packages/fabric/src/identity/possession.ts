import { createPublicKey, diffieHellman, type KeyObject, verify } from 'node:crypto'
import { equalBytes, sealingProof, toBase64Url, toHex } from '@countersign/protocol'

/**
 * Reports whether `proof` (`r ‖ s`) was made over `bytes` by the holder of this ECDSA P-256 key.
 */
export function provesP256(spki: Uint8Array, bytes: Uint8Array, proof: Uint8Array): boolean {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  return verify('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }, proof)
}

/** Reports whether `proof` was made over `bytes` by the holder of this raw Ed25519 key. */
export function provesEd25519(
  publicKey: Uint8Array,
  bytes: Uint8Array,
  proof: Uint8Array,
): boolean {
  if (isSmallOrder(publicKey)) return false
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(publicKey) }
  return verify(null, bytes, createPublicKey({ key: jwk, format: 'jwk' }), proof)
}

/**
 * Reports whether `proof` was made over `bytes` by the holder of this raw X25519 key. A key on a
 * point of small order agrees on zero with every other one: its holder need not exist, and no
 * member could seal to it. A second encoding of a point would be a second key id for one key.
 */
export async function provesX25519(
  publicKey: Uint8Array,
  enrollmentKey: KeyObject,
  { bytes, proof }: { readonly bytes: Uint8Array; readonly proof: Uint8Array },
): Promise<boolean> {
  const agreed = isCanonicalX25519(publicKey) ? agreeX25519(enrollmentKey, publicKey) : null
  if (agreed === null) return false
  const keys = { sealingKey: publicKey, enrollmentKey: rawPublicKey(enrollmentKey) }
  return equalBytes(await sealingProof(agreed, keys, bytes), proof)
}

/** Null where the result is zero (RFC 7748, section 6.1). */
function agreeX25519(privateKey: KeyObject, publicKey: Uint8Array): Uint8Array | null {
  const jwk = { kty: 'OKP', crv: 'X25519', x: toBase64Url(publicKey) }
  try {
    const agreed = diffieHellman({
      privateKey,
      publicKey: createPublicKey({ key: jwk, format: 'jwk' }),
    })
    return agreed.some((byte) => byte !== 0) ? agreed : null
  } catch {
    // OpenSSL refuses points of small order by itself.
    return null
  }
}

/** Below 2^255 - 19, so that each point has one encoding. */
function isCanonicalX25519(publicKey: Uint8Array): boolean {
  if (publicKey.length !== 32) return false
  const value = BigInt(`0x${toHex(publicKey.toReversed())}`)
  return value < 2n ** 255n - 19n
}

/** The raw half that others see of an X25519 private key (RFC 8410, section 4). */
export function rawPublicKey(privateKey: KeyObject): Uint8Array {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return new Uint8Array(spki.subarray(-32))
}

/**
 * Encodings of the points of small order on Curve25519 in Edwards form, sign bit cleared. One
 * signature under such a key fits many messages: its owner could disown any of them.
 */
const smallOrderPoints: ReadonlySet<string> = new Set([
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
])

function isSmallOrder(publicKey: Uint8Array): boolean {
  const cleared = publicKey.slice()
  cleared[31] = (cleared[31] ?? 0) & 0x7f
  return smallOrderPoints.has(toHex(cleared))
}
