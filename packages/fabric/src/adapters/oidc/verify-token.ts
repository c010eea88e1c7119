import type { KeyObject } from 'node:crypto'
import type { AdmitCheck, TokenServerOptions, VerifiedToken } from '../../identity/token-server.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { TokenKeys } from './token-key.ts'

/** All of these must be present (RFC 9068, section 2.2). */
const requiredClaims = ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti']

const clockSkewMs = 60_000
/** RFC 9068 leaves it to the issuer. */
export const TOKEN_LIFETIME_MS = 300_000

export interface VerifyOptions extends Pick<TokenServerOptions, 'issuer' | 'audience' | 'clock'> {
  readonly admitCheck?: AdmitCheck | undefined
}

/** Verifies one access token of ours (RFC 9068, section 4), by `jose`, loaded on first use. */
export async function verifyAccessToken(
  token: string,
  keys: Pick<TokenKeys, 'find'>,
  { issuer, audience, clock, admitCheck = () => () => undefined }: VerifyOptions,
): Promise<VerifiedToken | Refusal> {
  const { errors, jwtVerify } = await import('jose')
  const kid = kidOf(token, { issuer, audience, clock })
  if (kid instanceof Refusal) return kid
  const key = await keys.find(kid)
  if (key === null) return rejected('the token is not signed with our key')
  const giveBack = admitCheck()
  if (giveBack instanceof Refusal) return giveBack
  const findKey = (header: { kid?: string }): KeyObject => {
    if (header.kid !== key.kid) throw new errors.JWKSNoMatchingKey()
    return key.publicKey
  }
  try {
    const { payload } = await jwtVerify(token, findKey, {
      algorithms: ['ES256'],
      typ: 'at+jwt',
      issuer: issuer(),
      audience: audience(),
      requiredClaims,
      currentDate: new Date(clock.now()),
    })
    giveBack()
    // It would outlive its five minutes by as much as the clock was ahead.
    if (Number(payload.iat) * 1000 > clock.now() + clockSkewMs) {
      return new Refusal('CREDENTIAL_REJECTED', 'the token was issued by a clock that was ahead')
    }
    // Ours never does: another holder of the key made it, to outlast the rotation of that key.
    if (Number(payload.exp) * 1000 > clock.now() + TOKEN_LIFETIME_MS + clockSkewMs) {
      return rejected('the token is good for longer than any token of ours')
    }
    return claimsOf(payload, key.kid)
  } catch (error) {
    if (error instanceof errors.JWTExpired) {
      return new Refusal('CREDENTIAL_EXPIRED', 'the token has expired')
    }
    if (error instanceof errors.JOSEError) return new Refusal('CREDENTIAL_REJECTED', error.code)
    throw error
  }
}

/**
 * Returns the id of the key that a token names, or refuses one that its own claims exclude, before
 * the signature is checked, which costs far more. A token that passes is not yet trusted: the
 * verification looks at all of this again.
 */
function kidOf(
  token: string,
  { issuer, audience, clock }: Pick<VerifyOptions, 'issuer' | 'audience' | 'clock'>,
): string | Refusal {
  const parts = token.split('.')
  const [head, claims] = [parts[0], parts[1]].map(decodePart)
  // 64 bytes of ES256 in base64url.
  if (parts.length !== 3 || !head || !claims || parts[2]?.length !== 86) {
    return rejected('ERR_JWS_INVALID')
  }
  const { alg, kid, typ } = head
  if (alg !== 'ES256' || typeof kid !== 'string' || typ !== 'at+jwt') {
    return rejected('the token is not signed with our key')
  }
  const { exp, aud, iss } = claims
  if (iss !== issuer() || !(aud === audience() || isListWith(aud, audience()))) {
    return rejected('the token is for another issuer or audience')
  }
  if (typeof exp !== 'number') return rejected('the token has no end')
  return exp * 1000 <= clock.now()
    ? new Refusal('CREDENTIAL_EXPIRED', 'the token has expired')
    : kid
}

function rejected(detail: string): Refusal {
  return new Refusal('CREDENTIAL_REJECTED', detail)
}

function decodePart(part: string | undefined): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(part ?? '', 'base64url').toString())
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}

function isListWith(list: unknown, audience: string): boolean {
  return Array.isArray(list) && list.includes(audience)
}

function claimsOf(
  payload: { sub?: string; jti?: string; exp?: number; [claim: string]: unknown },
  keyId: string,
): VerifiedToken | Refusal {
  const { sub, jti, exp, cnf, scope, generation = 0 } = payload
  const thumbprint = thumbprintOf(cnf)
  const malformed = new Refusal('CREDENTIAL_REJECTED', 'a claim of the token is malformed')
  if (sub === undefined || jti === undefined || exp === undefined) return malformed
  if (!Number.isSafeInteger(generation)) return malformed
  if (thumbprint === undefined || (scope !== undefined && typeof scope !== 'string')) {
    return malformed
  }
  const scopes = scope === undefined ? null : scope.split(' ').filter((each) => each !== '')
  return {
    ...{ tokenId: jti, subject: sub, scopes, expiresAt: exp * 1000, thumbprint },
    ...{ generation: Number(generation), keyId },
  }
}

/** Undefined for a binding that we cannot check: a token bound to who knows what is refused. */
function thumbprintOf(cnf: unknown): string | null | undefined {
  if (cnf === undefined) return null
  if (typeof cnf !== 'object' || cnf === null || Object.keys(cnf).length !== 1) return undefined
  const thumbprint = 'x5t#S256' in cnf ? cnf['x5t#S256'] : undefined
  return typeof thumbprint === 'string' ? thumbprint : undefined
}
