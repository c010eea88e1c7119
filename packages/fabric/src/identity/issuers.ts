import { parsePrincipal } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import type { Refusal } from '../lib/refusal.ts'
import type { Attributes } from './caller.ts'
import type { AdmitCheck } from './token-server.ts'

/** The names that lead to a claim: more than one where it lies within others. */
export type ClaimPath = readonly string[]

/** An OpenID Connect issuer whose principals the operator admits, and what its claims mean here. */
export interface IssuerTerms {
  readonly issuer: string
  readonly audience: string
  readonly kind: 'agent' | 'user'
  readonly algorithms: readonly string[]
  /** A JSON Web Key Set on this machine; null: the keys are found by discovery. */
  readonly keyFile: string | null
  /** Each gives its role to principals whose claim has exactly this value, or holds it. */
  readonly roles: readonly { claim: ClaimPath; value: string; role: string }[]
  /** The first that fits counts. */
  readonly segments: readonly { claim: ClaimPath; value: string; segment: string }[]
  /** A claim becomes an attribute if its text is one of the values. */
  readonly attributes: readonly { name: string; claim: ClaimPath; values: readonly string[] }[]
}

/** The properties that policy tests, as the claims of a token give them. */
export interface Claimed {
  readonly roles: readonly string[]
  readonly segment: string
  readonly attributes: Attributes
}

/** The claims of a good token. They do not decide whether its subject may act. */
export interface IssuedToken {
  /** Null if the issuer gave it none. */
  readonly tokenId: string | null
  readonly subject: string
  /** Unix milliseconds. */
  readonly expiresAt: number
  readonly claims: Readonly<Record<string, unknown>>
}

/** Checks the tokens of one issuer. */
export interface IssuerTokens {
  readonly terms: IssuerTerms
  /**
   * Counts the changes of the issuer's keys: what was verified by earlier ones has to be verified
   * again. NaN, which is never the same, once the keys are too old to decide by.
   */
  keysVersion(): number
  /**
   * The token's claims, or why it is not a good one; rejects only when it cannot decide. Calls
   * `admitCheck` when nothing but the signature is left to check.
   */
  verify(token: string, admitCheck: AdmitCheck): Promise<IssuedToken | Refusal>
}

export type OpenIssuer = (terms: IssuerTerms, clock: Clock) => IssuerTokens

/** Reports whether the principal is of one of the issuers, and of the kind that it names. */
export function vouchesFor(
  issuers: readonly Pick<IssuerTerms, 'issuer' | 'kind'>[],
  principal: string,
): boolean {
  const parsed = parsePrincipal(principal)
  return issuers.some(({ issuer, kind }) => parsed?.issuer === issuer && parsed.kind === kind)
}
