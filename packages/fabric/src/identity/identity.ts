import { hash } from 'node:crypto'
import { type EnrollmentGrant, type PrincipalKey, parsePrincipal } from '@countersign/protocol'
import type { TrustBundles } from '@countersign/protocol/tls'
import type { KeyProvider } from '../keys/key-provider.ts'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import { Refusal, undecided } from '../lib/refusal.ts'
import { type KeyStore, openPrivateKey } from '../lib/stored-key.ts'
import { becomeFresh, whenFresh } from '../state/authority.ts'
import type { StateStream } from '../state/state-stream.ts'
import { type ApiKeys, createApiKeys } from './api-keys.ts'
import { authenticateByApiKey } from './authenticate-by-api-key.ts'
import { authenticateByCertificate } from './authenticate-by-certificate.ts'
import { authenticateByIssuer } from './authenticate-by-issuer.ts'
import { authenticateByToken } from './authenticate-by-token.ts'
import type { Authentication, Authenticator, Caller, Presented } from './caller.ts'
import { type Authority, openAuthority } from './certificate-authority.ts'
import type { CertificateWriter } from './certificate-writer.ts'
import type { AgentRecord, AgentStatus } from './directory.ts'
import {
  createEnrollment,
  type Enrollment,
  type FindNoRoom,
  type RecordCertificate,
} from './enrollment.ts'
import { createGuards } from './guards.ts'
import { type IssuerTerms, type IssuerTokens, vouchesFor } from './issuers.ts'
import { createJoinTokens, type JoinTokens } from './join-tokens.ts'
import { createMessageSignatures } from './message-signature.ts'
import type { MessageSignatures } from './message-signatures.ts'
import { isUnheard, type Newcomers } from './newcomers.ts'
import { rawPublicKey } from './possession.ts'
import { Renewals } from './renewals.ts'
import type { ReplayGuard } from './replay-guard.ts'
import { openServerIdentity, type ServerIdentity } from './server-identity.ts'
import { isCurrent } from './status.ts'
import { createDirectory, type StoredDirectory } from './stored-directory.ts'
import type { OpenTokenServer, TokenServer } from './token-server.ts'

export interface IdentityOptions {
  readonly trustDomain: string
  readonly state: StateStream
  readonly secrets: KeyStore
  /** Null keeps the root's key offline; see `openAuthority`. */
  readonly rootKeys: KeyProvider | null
  /** Has the key that signs access tokens. */
  readonly tokenKeys: KeyProvider
  readonly certificateWriter: CertificateWriter
  readonly replayGuard: ReplayGuard
  readonly openTokenServer: OpenTokenServer
  /** Other issuers, whose principals need no record. */
  readonly issuers?: readonly IssuerTokens[]
  /** Called before an agent receives a certificate, which waits for it. */
  readonly record: RecordCertificate
  /** Called before an enrolment begins. */
  readonly findNoRoom: FindNoRoom
  readonly clock: Clock
  readonly random: Random
  /** The fabric's own certificate: last part of its SPIFFE ID, further DNS names and addresses. */
  readonly server: {
    readonly name: string
    readonly names: readonly string[]
    readonly lifetimeMs?: number
  }
  /** `https://host:port/oauth`; asked for when a token is made or checked. */
  readonly issuer: () => string
  /** The resource that tokens are for, usually `https://host:port`. */
  readonly audience: () => string
  /** Receives the cause of a failed rotation of the server's certificate, which is tried again. */
  readonly onFailure?: (error: unknown) => void
}

/** By the kind of credential. */
interface Authenticators extends Readonly<Record<Caller['method'], Authenticator>> {
  readonly certificate: Authenticator<Authentication>
  readonly 'api-key': Authenticator<Authentication>
}

/** The identity of callers: everything that the rest of the fabric asks of this module. */
export interface Identity {
  readonly trustDomain: string
  readonly directory: StoredDirectory
  readonly authority: Authority
  readonly bundles: TrustBundles
  readonly server: ServerIdentity
  readonly joinTokens: JoinTokens
  readonly enrollment: Enrollment
  /** Renews the certificate that a connection proved; no other credential renews one. */
  renew(presented: Presented, body: unknown): Promise<EnrollmentGrant | Refusal>
  /** Called with the name of an agent whose earlier certificates have just ended. */
  onEnrolledAgain(listener: (name: string) => void): () => void
  /** The certificates to which others were renewed, by which streams go on. */
  readonly renewals: Renewals
  /** Raw X25519 public key, which new agents prove their sealing keys against. */
  readonly enrollmentKey: Uint8Array
  readonly apiKeys: ApiKeys
  /** Answers everything below the issuer's path. */
  readonly handleTokens: TokenServer['handle']
  /** Gives the key of access tokens a new version. */
  readonly rotateTokenKey: TokenServer['rotate']
  /** In the order in which the pipeline asks them. */
  readonly authenticators: readonly Authenticator[]
  authenticatorOf<Method extends Caller['method']>(method: Method): Authenticators[Method]
  readonly signatures: MessageSignatures
  /** Reports whether a configured issuer stands for the principal, which then needs no record. */
  vouchesFor(principal: PrincipalKey): boolean
  /**
   * Quarantines, revokes or restores; null for an unknown name. A revoked one stays
   * revoked, whatever is asked: its keys are in other hands. A principal of a configured issuer
   * gets a record by it.
   */
  setStatus(name: string, status: AgentStatus, reason: string): Promise<AgentRecord | null>
  /** Makes a record for a caller that will hold nothing but an API key, where there is none. */
  admitKeyHolder(name: string): Promise<void>
  close(): void
}

/**
 * Opens the module, creating keys and certificates at the first start. The caller must close it,
 * and then the state, which it follows.
 */
export async function openIdentity(options: IdentityOptions): Promise<Identity> {
  const { trustDomain, state: stream, clock, random, replayGuard } = options
  const guards = createGuards(stream)
  const directory = createDirectory(stream, guards)
  const joinTokens = createJoinTokens({ stream, guards, directory, clock, random })
  const apiKeys = createApiKeys({ stream, directory, clock, random })
  const authority = await openAuthority({ ...options, writer: options.certificateWriter })
  const { bundles } = authority
  const server = await openServerIdentity({ ...options, ...options.server, authority })
  const renewals = new Renewals(clock)
  announceRotations(server, renewals)
  const enrollmentKey = await openPrivateKey(options.secrets, 'identity/enrollment', 'X25519')
  const tokens = options.openTokenServer({
    ...{ ...options, directory, bundles, keys: options.tokenKeys },
    isCurrent: (peer) => isCurrent(directory, peer),
  })
  const issuers = options.issuers ?? []
  const deps = { trustDomain, directory, clock, bundles, apiKeys, tokens, issuers }
  // An agent may have been enrolled by another process a moment ago.
  const newcomers: Newcomers = (name, generation) =>
    isUnheard(directory.find(name), generation) ? stream.refresh() : null
  const by: Authenticators = {
    certificate: whenFresh(stream, authenticateByCertificate({ ...deps, newcomers })),
    token: whenFresh(stream, authenticateByAnyToken(deps)),
    'api-key': whenFresh(stream, authenticateByApiKey(deps)),
  }
  const terms = issuers.map((each) => each.terms)
  const enrollment = createEnrollment({
    ...{ authority, directory, joinTokens, enrollmentKey, renewals, clock },
    ...{ record: options.record, findNoRoom: options.findNoRoom },
  })
  return {
    trustDomain,
    directory,
    authority,
    bundles,
    server,
    joinTokens,
    enrollment: decidingFresh(stream, enrollment),
    onEnrolledAgain: (listener) => directory.onEnrolledAgain(listener),
    renew: renewalBy(by.certificate, enrollment),
    renewals,
    enrollmentKey: rawPublicKey(enrollmentKey),
    apiKeys,
    handleTokens: async (...asked) => {
      await becomeFresh(stream)
      return tokens.handle(...asked)
    },
    rotateTokenKey: () => tokens.rotate(),
    // Certificates first: a caller that holds several must not choose the weakest.
    authenticators: [by.certificate, by.token, by['api-key']],
    authenticatorOf: (method) => by[method],
    signatures: createMessageSignatures({ directory, replayGuard, clock }),
    vouchesFor: (principal) => vouchesFor(terms, principal),
    setStatus: (...order) => setStatus({ directory, joinTokens, clock, terms }, ...order),
    async admitKeyHolder(name) {
      // In the turn of the records: an agent that enrols meanwhile is not replaced by one without
      // keys.
      await directory.update(name, (present) =>
        present === null ? keyHolder(name, clock.now()) : null,
      )
    },
    close: () => server.close(),
  }
}

/** A join token that another process has just made or ended is known as such. */
function decidingFresh(stream: StateStream, { enroll, renew }: Enrollment): Enrollment {
  const within = <Args extends readonly unknown[]>(
    run: (...args: Args) => Promise<EnrollmentGrant | Refusal>,
  ) => {
    return async (...args: Args): Promise<EnrollmentGrant | Refusal> => {
      const refusal = await becomeFresh(stream).then(() => null, undecided)
      return refusal ?? run(...args)
    }
  }
  return { enroll: within(enroll), renew: within(renew) }
}

/** A token of a configured issuer is asked about there, and each other one here. */
function authenticateByAnyToken(
  deps: Parameters<typeof authenticateByToken>[0] & Parameters<typeof authenticateByIssuer>[0],
): Authenticator {
  const byToken = authenticateByToken(deps)
  if (deps.issuers.length === 0) return byToken
  const byIssuer = authenticateByIssuer(deps)
  return (presented) => byIssuer(presented) ?? byToken(presented)
}

function renewalBy(
  byCertificate: Authenticator<Authentication>,
  enrollment: Enrollment,
): Identity['renew'] {
  return async (presented, body) => {
    const shown = { ...presented, bearer: null, apiKey: null }
    const caller = await Promise.resolve(byCertificate(shown)).catch(undecided)
    if (caller === null) return new Refusal('CREDENTIAL_MISSING', 'renewal needs a certificate')
    return caller instanceof Refusal ? caller : enrollment.renew(caller, body)
  }
}

async function setStatus(
  { directory, joinTokens, clock, terms }: StatusDeps,
  ...[name, status, reason]: Parameters<Identity['setStatus']>
): Promise<AgentRecord | null> {
  const statusReason = status === 'active' ? '' : reason
  await directory.updateTogether(
    name,
    (record) => {
      if (record?.status === 'revoked' && status !== 'revoked') return record
      const present = record ?? vouched(name, terms, clock.now())
      return present && { ...present, status, statusReason }
    },
    // Or an agent that is restored could be enrolled with what was handed out before.
    () =>
      status === 'active'
        ? []
        : joinTokens.endings(name, `the agent was ${status} since it was made`),
  )
  return directory.find(name)
}

interface StatusDeps extends Pick<Identity, 'directory' | 'joinTokens'> {
  readonly clock: Clock
  readonly terms: readonly IssuerTerms[]
}

/** Without roles of its own: it has those of its claims. */
function vouched(
  name: string,
  terms: readonly IssuerTerms[],
  createdAt: number,
): AgentRecord | null {
  const principal = vouchesFor(terms, name) ? parsePrincipal(name) : null
  if (principal === null || principal.kind === 'fabric') return null
  return { ...keyHolder(name, createdAt), kind: principal.kind }
}

/** It can neither sign nor be called. */
function keyHolder(name: string, createdAt: number): AgentRecord {
  const standing = { status: 'active', statusReason: '' } as const
  const terms = { kind: 'agent', roles: [], segment: '', attributes: {} } as const
  return { name, ...terms, ...standing, keys: null, generation: 0, createdAt }
}

/** So that what connectors have under way with the gateway goes on when its certificate ends. */
function announceRotations(server: ServerIdentity, renewals: Renewals): void {
  let before = leafOf(server.current())
  server.onRotate(() => {
    const after = leafOf(server.current())
    renewals.renewed(server.spiffeId, before, after)
    before = after
  })
}

function leafOf({ certificateChain: [leaf], expiresAt }: ReturnType<ServerIdentity['current']>) {
  return { fingerprint: hash('sha256', leaf ?? new Uint8Array(), 'hex'), expiresAt }
}
