import type { PrincipalKey } from '@countersign/protocol'
import type { Refusal } from '../lib/refusal.ts'
import type { Delegation, OnBehalfOf } from './delegation.ts'
import type { Claimed } from './issuers.ts'

/**
 * The credentials that a peer presented, none of them checked except that `peer` completed a TLS
 * handshake.
 */
export interface Presented {
  /** The certificate chain of the TLS peer, DER, leaf first; null when it sent none. */
  readonly certificateChain: readonly Uint8Array[] | null
  /** The token of one `Authorization: Bearer` header; null when there was none. */
  readonly bearer: string | null
  /** The value of one `X-Api-Key` header; null when there was none. */
  readonly apiKey: string | null
  /** The network that the connection came from, where attempts are counted. */
  readonly network?: string
}

/** Scalars only, so that a policy can compare them without surprises. */
export type Attributes = Readonly<Record<string, string | number | boolean>>

/** A verified principal, as one credential proved it. */
export interface Caller {
  /** The key of everything that is kept for it, in its canonical form. */
  readonly principal: PrincipalKey
  readonly kind: 'agent' | 'user'
  /** As policy and commands name it: bare within the trust domain, else the canonical form. */
  readonly name: string
  /** The kind of credential that proved it for this request. */
  readonly method: 'certificate' | 'token' | 'api-key'
  /** Names the credential (certificate SHA-256, token id, key prefix) without revealing it. */
  readonly credentialId: string
  readonly roles: readonly string[]
  readonly segment: string
  readonly attributes: Attributes
  /** Null: everything that policy allows. Otherwise only these targets (agent or channel names). */
  readonly scopes: readonly string[] | null
  /** Unix milliseconds after which this proof is worth nothing, streams included. */
  readonly expiresAt: number
  /**
   * The properties that a token of another issuer gives its principal, with a record or without.
   * Absent for principals of this fabric, which need a record.
   */
  readonly claimed?: Claimed
  /** The enrolment that the proof came from; absent for an API key, which outlives enrolments. */
  readonly generation?: number
  /** Absent for a caller that acts for itself. */
  readonly onBehalfOf?: OnBehalfOf
}

/**
 * Knows one kind of credential.
 *
 * Gives the caller when the credential is of this kind and good, a delegation when it only states
 * for whom another caller acts, a refusal when it is of this kind and bad, and null when none of
 * this kind was presented; a promise of these only where it has to wait, since every request asks
 * all of them twice. Throws or rejects only when it cannot decide; that, too, means no.
 */
export type Authenticator<Found = Authentication | Delegation> = (
  presented: Presented,
) => Found | Promise<Found>

export type Authentication = Caller | Refusal | null
