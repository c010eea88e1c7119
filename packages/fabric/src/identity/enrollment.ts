import type { KeyObject } from 'node:crypto'
import {
  type EnrollmentGrant,
  type EnrollmentRequest,
  enrollmentProofBytes,
  formatSpiffeId,
  keyThumbprint,
  parseBase64Url,
  parseEnrollmentRequest,
  parseRenewalRequest,
  renewalProofBytes,
  toBase64Url,
} from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Caller } from './caller.ts'
import { type Authority, assertP256, type IssuedCertificate } from './certificate-authority.ts'
import type { AgentKeys, AgentRecord } from './directory.ts'
import { EnrolmentTurns } from './enrolment-turns.ts'
import type { JoinToken, JoinTokens } from './join-tokens.ts'
import { provesEd25519, provesP256, provesX25519 } from './possession.ts'
import type { Renewals } from './renewals.ts'
import { checkStatus, isOutlived } from './status.ts'
import type { StoredDirectory } from './stored-directory.ts'

/** The ways in which an agent becomes known, and stays known. Bodies are parsed JSON, unchecked. */
export interface Enrollment {
  /**
   * Admits the caller that shows an unused join token and holds the keys it names. The record and
   * the end of the token are one durable write: of two callers with one token, one is refused.
   */
  enroll(body: unknown): Promise<EnrollmentGrant | Refusal>
  /** A new certificate for the holder of a live one; `caller` proved itself by certificate. */
  renew(caller: Caller, body: unknown): Promise<EnrollmentGrant | Refusal>
}

/** A certificate that an agent is about to receive, as its entry states it. */
export interface CertificateFacts {
  readonly event: 'enrolled' | 'renewed'
  /** The agent's SPIFFE ID. */
  readonly agent: string
  /** Unix milliseconds. */
  readonly 'expires-at': number
}

/**
 * Puts a certificate on record. Null once the entry would survive a power loss; the refusal when it
 * would not, and then the agent must not receive it.
 */
export type RecordCertificate = (certificate: CertificateFacts) => Promise<Refusal | null>

export type FindNoRoom = () => Promise<Refusal | null>

interface Ports {
  readonly authority: Authority
  readonly directory: StoredDirectory
  readonly joinTokens: JoinTokens
  /** X25519: what sealing keys are proved against. */
  readonly enrollmentKey: KeyObject
  readonly renewals: Renewals
  /** Called before the certificate takes any effect. */
  readonly record: RecordCertificate
  /** Refuses an enrolment that could not be recorded, before it waits for its turn. */
  readonly findNoRoom: FindNoRoom
  readonly clock: Clock
}

export function createEnrollment(ports: Ports): Enrollment {
  const turns = new EnrolmentTurns()
  return {
    enroll: async (body) => {
      const request = parseOrRefuse(parseEnrollmentRequest, body)
      return request instanceof Refusal ? request : enroll(ports, turns, request)
    },
    renew: async (caller, body) => {
      const request = parseOrRefuse(parseRenewalRequest, body)
      return request instanceof Refusal ? request : renew(ports, caller, request)
    },
  }
}

async function enroll(
  ports: Ports,
  turns: EnrolmentTurns,
  request: EnrollmentRequest,
): Promise<EnrollmentGrant | Refusal> {
  const token = ports.joinTokens.find(request.token)
  if (token === null) return noSuchToken()
  const spent = checkToken(token, ports)
  if (spent !== null) return spent
  if (request.name !== undefined && request.name !== token.name) {
    return new Refusal('CREDENTIAL_REJECTED', `the join token is for ${token.name}`)
  }
  const keys = await proveKeys(request, ports.enrollmentKey)
  if (keys instanceof Refusal) return keys
  const full = await ports.findNoRoom()
  if (full !== null) return full
  const { trustDomain } = ports.authority
  const { id, kind, name } = token
  const spiffeId = formatSpiffeId({ trustDomain, kind, name, instance: null })
  // Issue, record, then use up the token. A crash before the last step leaves a certificate that
  // was never handed out, or its entry without an effect; the token is good for another try. In
  // another order the agent could never enrol, or would be enrolled without an entry.
  const generation = presentGeneration(ports, name) + 1
  const issued = await ports.authority.issue({ spiffeId, tlsPublicKey: keys.tls, generation })
  const grant = grantOf(ports.authority, { name, keys: keys.agent }, issued)
  const made = { name, keys: keys.agent, generation }
  const record = () => ports.record(factsOf('enrolled', issued))
  const refusal = await turns.run(id, () => admit(ports, request.token, { ...made, record }))
  if (refusal !== null) return refusal
  ports.renewals.enrolled(spiffeId, issued)
  return grant
}

function factsOf(
  event: CertificateFacts['event'],
  { spiffeId, expiresAt }: IssuedCertificate,
): CertificateFacts {
  return { event, agent: spiffeId, 'expires-at': expiresAt }
}

function noSuchToken(): Refusal {
  return new Refusal('CREDENTIAL_REJECTED', 'no such join token')
}

function presentGeneration({ directory }: Pick<Ports, 'directory'>, name: string): number {
  return directory.find(name)?.generation ?? 0
}

/** The clock of this machine may have been corrected a little since a token was made. */
const clockSkewMs = 60_000

function checkToken(
  { id, name, ...token }: JoinToken,
  ports: Pick<Ports, 'directory' | 'clock'>,
): Refusal | null {
  const now = ports.clock.now()
  if (token.usedAt !== null) {
    return new Refusal('CREDENTIAL_SPENT', `join token ${id} was used before`)
  }
  const end = token.ended ?? outdated(token.generation, presentGeneration(ports, name))
  if (end !== null) {
    return new Refusal('CREDENTIAL_REJECTED', `join token ${id} for ${name} has ended: ${end}`)
  }
  if (token.createdAt > now + clockSkewMs) {
    return new Refusal('CREDENTIAL_REJECTED', `join token ${id} is of a clock that was ahead`)
  }
  return now > token.expiresAt
    ? new Refusal('CREDENTIAL_EXPIRED', `join token ${id} has expired`)
    : null
}

/**
 * A later enrolment is a later decision about roles and keys, which an older token must not undo.
 */
function outdated(made: number | undefined, present: number): string | null {
  if (made === undefined) return 'it was made by an earlier version, so make a new one'
  return made === present ? null : 'the agent was enrolled since it was made'
}

interface Admission {
  readonly name: string
  readonly keys: AgentKeys
  readonly generation: number
  record(): Promise<Refusal | null>
}

/**
 * Null once the agent is in the directory with these keys, the token used up, and both on record.
 * The entry is written in the turn of the directory, when only its own write is left to do.
 */
async function admit(
  ports: Pick<Ports, 'directory' | 'joinTokens' | 'clock'>,
  text: string,
  { name: admitted, keys, generation, record }: Admission,
): Promise<Refusal | null> {
  const { directory, joinTokens, clock } = ports
  let refusal: Refusal | null = null
  let id = ''
  const change = (present: AgentRecord | null): AgentRecord | null => {
    // Keys were proved and a certificate issued since: the token can have ended, or been taken
    // back.
    const token = joinTokens.find(text)
    refusal = present && checkStatus(present)
    if (token === null) refusal ??= noSuchToken()
    if (refusal !== null || token === null) return null
    refusal = checkToken(token, ports)
    const holder = directory.findBySigningKey(keys.signing.keyId)
    if (holder !== null && holder.name !== token.name) {
      refusal ??= new Refusal('CREDENTIAL_REJECTED', `the signing key is that of ${holder.name}`)
    }
    if (present !== null && present.kind !== token.kind) {
      refusal ??= new Refusal('CREDENTIAL_REJECTED', `${token.name} is a ${present.kind}`)
    }
    if (generation !== (present?.generation ?? 0) + 1) {
      refusal ??= new Refusal('UNDECIDED', `${token.name} was enrolled by another at the same time`)
    }
    if (refusal !== null) return null
    id = token.id
    const { name, kind, roles, segment, attributes } = token
    const createdAt = present?.createdAt ?? clock.now()
    const standing = { status: 'active', statusReason: '' } as const
    return { name, kind, roles, segment, attributes, ...standing, keys, generation, createdAt }
  }
  let isRecorded = false
  const durable = await directory.updateTogether(admitted, change, async () => {
    // Once, also when another process was faster and the conditions are checked again.
    if (!isRecorded) refusal = await record()
    isRecorded = refusal === null
    return isRecorded ? joinTokens.consumption(id) : null
  })
  if (refusal !== null || durable) return refusal
  return new Refusal('CREDENTIAL_SPENT', `join token ${id} was used before`)
}

async function proveKeys(
  request: EnrollmentRequest,
  enrollmentKey: KeyObject,
): Promise<{ tls: Uint8Array; agent: AgentKeys } | Refusal> {
  const tls = p256OrRefuse(request.tlsKey)
  if (tls instanceof Refusal) return tls
  const signingKey = bytesOf(request.signingKey)
  const sealingKey = bytesOf(request.sealingKey)
  const bytes = await enrollmentProofBytes({
    token: request.token,
    tlsKey: tls,
    signingKey,
    sealingKey,
  })
  if (!provesP256(tls, bytes, bytesOf(request.tlsProof))) {
    return new Refusal('CREDENTIAL_REJECTED', 'possession of the TLS key is not proved')
  }
  if (!provesEd25519(signingKey, bytes, bytesOf(request.signingProof))) {
    return new Refusal('CREDENTIAL_REJECTED', 'possession of the signing key is not proved')
  }
  const sealingProof = { bytes, proof: bytesOf(request.sealingProof) }
  if (!(await provesX25519(sealingKey, enrollmentKey, sealingProof))) {
    return new Refusal('CREDENTIAL_REJECTED', 'possession of the sealing key is not proved')
  }
  const [signingId, sealingId] = await Promise.all([
    keyThumbprint('Ed25519', signingKey),
    keyThumbprint('X25519', sealingKey),
  ])
  return {
    tls,
    agent: {
      signing: { keyId: signingId, publicKey: signingKey },
      sealing: { keyId: sealingId, publicKey: sealingKey },
    },
  }
}

async function renew(
  ports: Ports,
  caller: Caller,
  request: { readonly tlsKey: string; readonly tlsProof: string },
): Promise<EnrollmentGrant | Refusal> {
  const { authority, directory, renewals } = ports
  // Only a live certificate renews itself: a stolen token or key must not grow into one.
  if (caller.method !== 'certificate') {
    return new Refusal('CREDENTIAL_REJECTED', `renewal over ${caller.method}`)
  }
  const record = directory.find(caller.name)
  if (record === null) return new Refusal('CREDENTIAL_REJECTED', 'no such agent')
  const { name, keys, generation } = record
  if (keys === null) return new Refusal('CREDENTIAL_REJECTED', 'the agent never enrolled')
  const lost = (): Refusal | null => renewalFault(ports, caller, generation)
  const fault = lost()
  if (fault !== null) return fault
  const tls = p256OrRefuse(request.tlsKey)
  if (tls instanceof Refusal) return tls
  const fingerprint = new Uint8Array(Buffer.from(caller.credentialId, 'hex'))
  const bytes = renewalProofBytes(fingerprint, tls)
  if (!provesP256(tls, bytes, bytesOf(request.tlsProof))) {
    return new Refusal('CREDENTIAL_REJECTED', 'possession of the TLS key is not proved')
  }
  const issued = await authority.issue({
    spiffeId: caller.principal,
    tlsPublicKey: tls,
    generation,
  })
  const grant = grantOf(authority, { name, keys }, issued)
  // Issuing takes a while, and so does the entry: in either the agent can have been quarantined, or
  // enrolled again. An entry `renewed` is then followed by the refusal.
  const refusal = lost() ?? (await ports.record(factsOf('renewed', issued))) ?? lost()
  if (refusal !== null) return refusal
  const from = { fingerprint: caller.credentialId, expiresAt: caller.expiresAt }
  return renewals.renewed(caller.principal, from, issued) ? grant : superseded(caller)
}

/** Returns the reason why `caller` may not renew at this moment. */
function renewalFault(
  { directory, renewals }: Pick<Ports, 'directory' | 'renewals'>,
  caller: Caller,
  generation: number,
): Refusal | null {
  const present = directory.find(caller.name)
  if (present?.generation !== generation) return outlived(caller)
  const fault = statusOf(present, caller)
  if (fault !== null) return fault
  return renewals.mayRenew(caller.principal, caller.credentialId) ? null : superseded(caller)
}

function statusOf(record: AgentRecord, caller: Caller): Refusal | null {
  return isOutlived(record, caller) ? outlived(caller) : checkStatus(record)
}

function outlived({ name, principal }: Caller): Refusal {
  const detail = `the certificate is of an earlier enrolment of ${name}`
  return new Refusal('CREDENTIAL_REJECTED', detail, null, { caller: principal })
}

/** Two hold this certificate's key, and the other one has gone on: the key may have been stolen. */
function superseded({ name, principal }: Caller): Refusal {
  const detail = `a later certificate of ${name} was renewed already, by another holder of its key`
  return new Refusal('CREDENTIAL_REJECTED', detail, null, { caller: principal })
}

function grantOf(
  { bundles }: Authority,
  { name, keys }: { readonly name: string; readonly keys: AgentKeys },
  issued: IssuedCertificate,
): EnrollmentGrant {
  const entries = bundles.domains().flatMap((trustDomain) => {
    const bundle = bundles.find(trustDomain)
    if (bundle === null || bundle.roots.length === 0) return []
    const { sequence } = bundle
    return [[trustDomain, { sequence, roots: bundle.roots.map(toBase64Url) }] as const]
  })
  return {
    version: 1,
    spiffeId: issued.spiffeId,
    name,
    signingKeyId: keys.signing.keyId,
    sealingKeyId: keys.sealing.keyId,
    certificateChain: issued.certificateChain.map(toBase64Url),
    bundles: Object.fromEntries(entries),
    expiresAt: issued.expiresAt,
  }
}

function parseOrRefuse<Request>(
  parse: (body: unknown) => Request,
  body: unknown,
): Request | Refusal {
  try {
    return parse(body)
  } catch (error) {
    return new Refusal('MESSAGE_MALFORMED', error instanceof Error ? error.message : 'no request')
  }
}

function p256OrRefuse(text: string): Uint8Array | Refusal {
  try {
    return assertP256(bytesOf(text))
  } catch {
    return new Refusal('CREDENTIAL_REJECTED', 'the TLS key is not a canonical ECDSA P-256 key')
  }
}

function bytesOf(text: string): Uint8Array {
  return parseBase64Url(text) ?? new Uint8Array()
}
