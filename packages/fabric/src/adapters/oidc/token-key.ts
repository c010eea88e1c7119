import { hash, type KeyObject } from 'node:crypto'
import { type KeyStore, openPrivateKey } from '../../lib/stored-key.ts'

const secretName = 'tokens/signing'

/** The ECDSA P-256 key that signs access tokens, as JWKs with the same `kid`. */
export interface TokenKey {
  readonly kid: string
  readonly privateKey: KeyObject
  readonly privateJwk: Readonly<Record<string, unknown>>
}

/** The stored key, or a new one when there is none. */
export async function openTokenKey(secrets: KeyStore): Promise<TokenKey> {
  return keyOf(await openPrivateKey(secrets, secretName, 'P-256'))
}

function keyOf(privateKey: KeyObject): TokenKey {
  const jwk = privateKey.export({ format: 'jwk' })
  // RFC 7638, section 3: the required members in this order.
  const kid = hash(
    'sha256',
    JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y }),
    'base64url',
  )
  return { kid, privateKey, privateJwk: { ...jwk, kid, alg: 'ES256', use: 'sig' } }
}
