import { createPublicKey, type KeyObject } from 'node:crypto'
import { toBase64Url } from '@countersign/protocol'

/** Made once for each key: making it costs a good part of a verification. */
const keyObjects = new WeakMap<Uint8Array, KeyObject>()

/** The Ed25519 key of 32 raw bytes; throws on bytes that are none. */
export function publicKeyOf(raw: Uint8Array): KeyObject {
  const known = keyObjects.get(raw)
  if (known !== undefined) return known
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(raw) }
  const key = createPublicKey({ key: jwk, format: 'jwk' })
  keyObjects.set(raw, key)
  return key
}
