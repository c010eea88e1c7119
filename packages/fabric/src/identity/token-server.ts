import type { IncomingMessage, ServerResponse } from 'node:http'
import type { PeerIdentity, TrustBundles } from '@countersign/protocol/tls'
import type { KeyProvider } from '../keys/key-provider.ts'
import type { Clock } from '../lib/clock.ts'
import type { Refusal } from '../lib/refusal.ts'
import type { Directory } from './directory.ts'
import type { ReplayGuard } from './replay-guard.ts'

/** The claims of a good access token (RFC 9068). They do not decide whether its subject may act. */
export interface VerifiedToken {
  readonly tokenId: string
  /** The SPIFFE ID in `sub`. */
  readonly subject: string
  /** Agents and channels; null when the token is not narrowed. */
  readonly scopes: readonly string[] | null
  /** Unix milliseconds. */
  readonly expiresAt: number
  /** The enrolment of its subject that it was given to. */
  readonly generation: number
  /** SHA-256 of the certificate that the token is bound to (RFC 8705), base64url. */
  readonly thumbprint: string | null
  /** Names the key that signed it. */
  readonly keyId: string
}

export interface TokenServerOptions {
  readonly trustDomain: string
  /** `https://host:port/oauth`, asked for on first use: a listener may not have its port before. */
  readonly issuer: () => string
  /** The required value of `aud`: the resource that this fabric is (RFC 8707). */
  readonly audience: () => string
  /** Has the key that signs tokens. */
  readonly keys: KeyProvider
  readonly directory: Directory
  readonly bundles: TrustBundles
  /** Reports whether a certificate is of its agent's present enrolment. */
  isCurrent(peer: PeerIdentity): boolean
  readonly replayGuard: ReplayGuard
  readonly clock: Clock
}

/**
 * Receives the result of one request for a token, before its client does; when it rejects, the
 * token is not issued.
 */
export interface TokenRecord {
  issued(token: VerifiedToken): Promise<void>
  refused(refusal: Refusal): Promise<void>
}

/** An OAuth authorization server for enrolled agents, and the check of what it gives out. */
export interface TokenServer {
  /**
   * Answers everything below the issuer's path; the body has been read. Rejects when the server
   * cannot start; after that every failure is an answer.
   */
  readonly handle: (
    request: IncomingMessage,
    response: ServerResponse,
    asked: { readonly body: Uint8Array; readonly record: TokenRecord },
  ) => Promise<void>
  /**
   * The token's claims, or why it is not one of ours; rejects only when it cannot decide. Calls
   * `admitCheck` when nothing but the signature is left to check.
   */
  verify(token: string, admitCheck?: AdmitCheck): Promise<VerifiedToken | Refusal>
  /**
   * Reports whether the key of a verified token is still accepted. False also where only another
   * verification can decide it.
   */
  isAccepted(keyId: string): boolean
  /** Signs with another key from now on. Rejects with a KeyFault if the provider is away. */
  rotate(): Promise<RotatedTokenKey>
}

export interface RotatedTokenKey {
  readonly version: number
  /** Unix milliseconds: until then, tokens of the version before are accepted. */
  readonly previousUntil: number
}

/** Refuses a signature check, or gives what to call when the signature was good. */
export type AdmitCheck = () => (() => void) | Refusal

export type OpenTokenServer = (options: TokenServerOptions) => TokenServer
