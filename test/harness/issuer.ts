import { randomUUID } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose'

export const issuerUrl = 'https://login.example.com/tenant'
export const issuerAudience = 'countersign'

/** An OpenID Connect issuer of tests, whose keys are in a file. */
export interface TestIssuer {
  readonly keyFile: string
  /** The keys as the issuer publishes them. */
  readonly keySet: { readonly keys: readonly object[] }
  token(claims: object, changes?: TokenChanges): Promise<string>
}

interface TokenChanges {
  readonly issuer?: string
  readonly audience?: string
  readonly lifetimeSeconds?: number
  readonly now?: number
  readonly kid?: string
  readonly key?: CryptoKey
}

export async function openTestIssuer(kid = 'one'): Promise<TestIssuer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const keySet = { keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' }] }
  const keyFile = join(mkdtempSync(join(tmpdir(), 'issuer-')), 'jwks.json')
  writeFileSync(keyFile, JSON.stringify(keySet))
  return {
    keyFile,
    keySet,
    token(claims, changes = {}) {
      const now = Math.floor((changes.now ?? Date.now()) / 1000)
      return new SignJWT({ jti: randomUUID(), ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: changes.kid ?? kid, typ: 'JWT' })
        .setIssuer(changes.issuer ?? issuerUrl)
        .setAudience(changes.audience ?? issuerAudience)
        .setIssuedAt(now)
        .setExpirationTime(now + (changes.lifetimeSeconds ?? 300))
        .sign(changes.key ?? privateKey)
    },
  }
}
