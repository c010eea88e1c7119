import type { JWTPayload } from 'jose'
import type { IssuedToken, IssuerTerms, IssuerTokens } from '../../identity/issuers.ts'
import type { AdmitCheck } from '../../identity/token-server.ts'
import type { Clock } from '../../lib/clock.ts'
import { Refusal } from '../../lib/refusal.ts'
import { IssuerKeys, type ReadJson } from './issuer-keys.ts'

/** A token that is good for longer would outlast the decision of its issuer by too much. */
const lifetimeMsMax = 24 * 3_600_000
/** Of the clocks, for tokens that begin now. Their end is not extended by it. */
const skewSeconds = 5
const tokenIdText = /^[\x21-\x7e]{1,128}$/

/** Checks the tokens of another issuer by `jose`, which is loaded with the first of them. */
export function oidcIssuer(terms: IssuerTerms, clock: Clock, readJson?: ReadJson): IssuerTokens {
  const keys = new IssuerKeys(terms, clock, readJson)
  return {
    terms,
    keysVersion: () => keys.version,
    verify: (token, admitCheck) => verify(token, { terms, keys, clock, admitCheck }),
  }
}

interface Verifying {
  readonly terms: IssuerTerms
  readonly keys: IssuerKeys
  readonly clock: Clock
  readonly admitCheck: AdmitCheck
}

async function verify(token: string, verifying: Verifying): Promise<IssuedToken | Refusal> {
  const { terms, clock, admitCheck } = verifying
  const { errors, jwtVerify } = await import('jose')
  const giveBack = admitCheck()
  if (giveBack instanceof Refusal) return giveBack
  const check = async (): Promise<JWTPayload> => {
    const { createLocalJWKSet } = await import('jose')
    const findKey = createLocalJWKSet(await verifying.keys.current())
    const { payload } = await jwtVerify(token, findKey, {
      algorithms: [...terms.algorithms],
      issuer: terms.issuer,
      audience: terms.audience,
      requiredClaims: ['iss', 'aud', 'sub', 'exp'],
      clockTolerance: skewSeconds,
      currentDate: new Date(clock.now()),
    })
    return payload
  }
  try {
    const payload = await check().catch(async (error: unknown) => {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      // The issuer may have changed its keys since they were read.
      await verifying.keys.refresh()
      return check()
    })
    giveBack()
    return issuedToken(payload, clock.now())
  } catch (error) {
    if (error instanceof errors.JWTExpired) return expired()
    if (error instanceof errors.JOSEError) return new Refusal('CREDENTIAL_REJECTED', error.code)
    // Nothing was checked: the issuer's keys are out of reach.
    giveBack()
    throw error
  }
}

function expired(): Refusal {
  return new Refusal('CREDENTIAL_EXPIRED', 'the token has expired')
}

function issuedToken(payload: JWTPayload, now: number): IssuedToken | Refusal {
  const { sub, exp, jti, cnf } = payload
  if (sub === undefined || exp === undefined) {
    return new Refusal('CREDENTIAL_REJECTED', 'a claim of the token is malformed')
  }
  const expiresAt = exp * 1000
  if (expiresAt <= now) return expired()
  if (expiresAt - now > lifetimeMsMax) {
    return new Refusal('CREDENTIAL_REJECTED', 'the token is good for more than a day')
  }
  // Its holder could not prove the key here: a certificate names a principal of this fabric.
  if (cnf !== undefined) {
    return new Refusal('CREDENTIAL_REJECTED', 'the token is bound to a key that cannot be proved')
  }
  const tokenId = typeof jti === 'string' && tokenIdText.test(jti) ? jti : null
  return { tokenId, subject: sub, expiresAt, claims: payload }
}
