import { createPublicKey, verify } from 'node:crypto'
import { toBase64Url, toHex } from '@countersign/protocol'

/** Whether `proof` (`r ‖ s`) was made over `bytes` by the holder of this ECDSA P-256 key. */
export function provesP256(spki: Uint8Array, bytes: Uint8Array, proof: Uint8Array): boolean {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  return verify('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }, proof)
}

/** Whether `proof` was made over `bytes` by the holder of this raw Ed25519 key. */
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
