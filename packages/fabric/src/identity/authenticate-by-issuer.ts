import { hash } from 'node:crypto'
import { type PrincipalKey, principalKey, unverifiedClaims } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Authentication, Authenticator, Caller, Presented } from './caller.ts'
import { claimedBy, withRecord } from './claims.ts'
import { actorIn, Delegation } from './delegation.ts'
import type { Directory } from './directory.ts'
import type { Claimed, IssuedToken, IssuerTokens } from './issuers.ts'
import { findPrincipal } from './principals.ts'
import { SignatureChecks } from './signature-checks.ts'
import { checkStatus } from './status.ts'

/** Tokens that are known to be good; beyond it, all are verified again. */
const tokensMax = 10_000
/** With many groups, a token takes a few thousand characters. */
const tokenLengthMax = 16_384

/** Without the other claims, of which a token may have many. */
interface Known extends Pick<IssuedToken, 'subject' | 'expiresAt'> {
  readonly credentialId: string
  readonly claimed: Claimed
  /** The principal that acts for the subject; null where the subject itself does. */
  readonly actor: PrincipalKey | null
  readonly keysVersion: number
}

/**
 * The caller is a principal of a configured issuer, by a token of it, or the token lets another
 * caller act on behalf of that principal. Null for every other token. Its roles, segment and
 * attributes come from the operator's mapping of claims; a record of the directory adds to them,
 * and its status counts.
 */
export function authenticateByIssuer(deps: {
  readonly trustDomain: string
  readonly issuers: readonly IssuerTokens[]
  readonly directory: Pick<Directory, 'find'>
  readonly clock: Clock
}): Authenticator {
  const issuers = new Map(deps.issuers.map((each) => [each.terms.issuer, each]))
  // By hash, so that a copy of this process's memory holds no token that could be used.
  const known = new Map<string, Known>()
  const checks = new SignatureChecks(deps.clock)

  const verify = async (
    issuer: IssuerTokens,
    text: string,
    { network = '', key }: Pick<Presented, 'network'> & { readonly key: string },
  ): Promise<Known | Refusal> => {
    const found = known.get(key)
    // As of before the verification, during which the issuer may take a key back.
    const keysVersion = issuer.keysVersion()
    const isOfTheseKeys = found?.keysVersion === keysVersion
    if (isOfTheseKeys && found.expiresAt > deps.clock.now()) return found
    known.delete(key)
    const token = await issuer.verify(text, () => checks.take(network))
    if (token instanceof Refusal) return token
    if (known.size >= tokensMax) known.clear()
    const actor = actorIn(token.claims, issuer.terms.issuer)
    if (actor instanceof Refusal) return actor
    const { subject, expiresAt } = token
    const made: Known = {
      ...{ actor, subject, expiresAt, credentialId: token.tokenId ?? key.slice(0, 22) },
      ...{ claimed: claimedBy(token.claims, issuer.terms), keysVersion },
    }
    known.set(key, made)
    return made
  }

  const authenticate = async (
    issuer: IssuerTokens,
    text: string,
    { network }: Presented,
  ): Promise<Authentication | Delegation> => {
    const key = hash('sha256', text, 'base64url')
    const token = await verify(issuer, text, { key, ...(network === undefined ? {} : { network }) })
    return token instanceof Refusal ? token : callerOfToken(issuer, token, deps)
  }

  return (presented) => {
    const { bearer } = presented
    const claimed = bearer === null ? null : issuerIn(bearer)
    const issuer = claimed === null ? undefined : issuers.get(claimed)
    return issuer === undefined || bearer === null ? null : authenticate(issuer, bearer, presented)
  }
}

function callerOfToken(
  { terms }: IssuerTokens,
  { subject, credentialId, expiresAt, claimed, actor }: Known,
  { directory, trustDomain }: { directory: Pick<Directory, 'find'>; trustDomain: string },
): Caller | Delegation | Refusal {
  const { kind, issuer } = terms
  const principal = canonicalForm({ kind, issuer, subject })
  if (principal === null) {
    return new Refusal('CREDENTIAL_REJECTED', `the subject of a token of ${issuer} is malformed`)
  }
  const record = findPrincipal(directory, principal, trustDomain)
  // Asked anew for every request: quarantine must not wait for a token to expire.
  const refusal = record === null ? null : checkStatus(record)
  if (refusal !== null) {
    return new Refusal(refusal.code, refusal.detail, null, { caller: principal })
  }
  if (actor !== null) {
    return new Delegation(actor, { user: principal, expiresAt, credentialId })
  }
  return {
    ...{ principal, kind, name: principal, method: 'token', credentialId },
    ...withRecord(claimed, record),
    // The scopes of another issuer name nothing here.
    ...{ scopes: null, expiresAt, claimed },
  }
}

function canonicalForm(principal: Parameters<typeof principalKey>[0]) {
  try {
    return principalKey(principal)
  } catch {
    return null
  }
}

/**
 * Returns the issuer that a token claims. Nothing of it is verified: it selects the issuer by which
 * the token is checked.
 */
function issuerIn(bearer: string): string | null {
  const { iss } = (bearer.length > tokenLengthMax ? null : unverifiedClaims(bearer)) ?? {}
  return typeof iss === 'string' ? iss : null
}
