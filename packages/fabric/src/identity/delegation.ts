import { isPrincipalKey, type PrincipalKey } from '@countersign/protocol'
import { Refusal } from '../lib/refusal.ts'

/** The principal on whose behalf a caller acts, as a token of its issuer proved it. */
export interface OnBehalfOf {
  readonly user: PrincipalKey
  /** Unix milliseconds after which the token proves nothing. */
  readonly expiresAt: number
  /** Names the token without revealing it. */
  readonly credentialId: string
}

/**
 * A token by which an issuer lets one principal act for another (RFC 8693, section 4.1). It proves
 * nothing about its bearer: the actor needs a credential of its own.
 */
export class Delegation {
  readonly actor: PrincipalKey
  readonly onBehalfOf: OnBehalfOf

  constructor(actor: PrincipalKey, onBehalfOf: OnBehalfOf) {
    this.actor = actor
    this.onBehalfOf = onBehalfOf
  }
}

/**
 * Returns the principal that the `act` claim of a token names; null for a token without one, whose
 * bearer is its subject. `act.sub` is the SPIFFE ID of the actor, which no issuer of the
 * configuration could give another principal. Nested actors are history and grant nothing.
 */
export function actorIn(
  { act }: Readonly<Record<string, unknown>>,
  issuer: string,
): PrincipalKey | null | Refusal {
  if (act === undefined) return null
  const { sub, iss = issuer } = typeof act === 'object' && act !== null ? membersOf(act) : {}
  const isActor = isPrincipalKey(sub) && sub.startsWith('spiffe://') && iss === issuer
  return isActor
    ? sub
    : new Refusal('CREDENTIAL_REJECTED', `the \`act\` claim of a token of ${issuer} is malformed`)
}

function membersOf(value: object): { readonly sub?: unknown; readonly iss?: unknown } {
  return value
}
