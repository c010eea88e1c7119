import { createPrivateKey, generateKeyPairSync, hash, type KeyObject } from 'node:crypto'
import type { IdentitySecrets } from '../../identity/certificate-authority.ts'

const secretName = 'tokens/signing'

/** The ECDSA P-256 key that signs access tokens, as JWKs with the same `kid`. */
export interface TokenKey {
  readonly kid: string
  readonly privateKey: KeyObject
  readonly privateJwk: Readonly<Record<string, unknown>>
}

/** The stored key, or a new one when there is none. */
export async function openTokenKey(secrets: IdentitySecrets): Promise<TokenKey> {
  const stored = await secrets.find(secretName)
  if (stored !== null) {
    return keyOf(createPrivateKey({ key: Buffer.from(stored), format: 'der', type: 'pkcs8' }))
  }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const bytes = privateKey.export({ type: 'pkcs8', format: 'der' })
  await secrets.put(secretName, new Uint8Array(bytes))
  return keyOf(privateKey)
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
