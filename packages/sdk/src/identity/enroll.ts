import { createHash, createPublicKey, diffieHellman, sign } from 'node:crypto'
import {
  type EnrollmentGrant,
  enrollmentProofBytes,
  equalBytes,
  keyThumbprint,
  parseBase64Url,
  parseEnrollmentGrant,
  parseSpiffeId,
  renewalProofBytes,
  sealingProof,
  toBase64Url,
} from '@countersign/protocol'
import {
  PeerFault,
  parseCertificate,
  peerIdentity,
  type TlsCredential,
  TrustBundles,
} from '@countersign/protocol/tls'
import { askControl } from '../connection/control.ts'
import type { FabricConnection } from '../connection/fabric-connection.ts'
import type { Clock } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import { type AgentPrivateKeys, rawPublicKey } from './keys.ts'

/** A grant that was checked against our own keys: what makes an agent of three keys. */
export interface Granted {
  readonly grant: EnrollmentGrant
  readonly spiffeId: string
  readonly trustDomain: string
  readonly name: string
  readonly credential: TlsCredential
  readonly bundles: TrustBundles
  /** Unix milliseconds: the earlier of the times in the grant and in the certificates. */
  readonly issuedAt: number
  readonly expiresAt: number
}

/** The content of the join string and the trust document for one enrolment. */
export interface EnrollmentTerms {
  readonly token: string
  /** Refused without spending the token when it is for another name. */
  readonly name: string | undefined
  /** Raw X25519 public key of the fabric. */
  readonly enrollmentKey: Uint8Array
}

/** Proves possession of the keys and takes a certificate for them; the token is spent by it. */
export async function enroll(
  connection: FabricConnection,
  keys: AgentPrivateKeys,
  { token, name, enrollmentKey }: EnrollmentTerms,
): Promise<unknown> {
  const tlsKey = publicTlsKey(keys)
  const signingKey = rawPublicKey(keys.signing)
  const sealingKey = rawPublicKey(keys.sealing)
  const proof = await enrollmentProofBytes({ token, tlsKey, signingKey, sealingKey })
  return askControl(connection, {
    method: 'POST',
    path: '/v1/enroll',
    value: {
      version: 1,
      token,
      ...(name === undefined ? {} : { name }),
      tlsKey: toBase64Url(tlsKey),
      signingKey: toBase64Url(signingKey),
      sealingKey: toBase64Url(sealingKey),
      tlsProof: toBase64Url(signByTlsKey(keys, proof)),
      signingProof: toBase64Url(new Uint8Array(sign(null, proof, keys.signing))),
      sealingProof: toBase64Url(await proveSealingKey(keys, enrollmentKey, proof)),
    },
  })
}

/**
 * Asks for a certificate of the TLS key of `keys`, over a connection that shows the present one.
 */
export async function renew(
  connection: FabricConnection,
  keys: AgentPrivateKeys,
  present: TlsCredential,
  signal: AbortSignal,
): Promise<unknown> {
  const [leaf = new Uint8Array(0)] = present.certificateChain
  const tlsKey = publicTlsKey(keys)
  const presentSha256 = new Uint8Array(createHash('sha256').update(leaf).digest())
  const tlsProof = toBase64Url(signByTlsKey(keys, renewalProofBytes(presentSha256, tlsKey)))
  const value = { version: 1, tlsKey: toBase64Url(tlsKey), tlsProof }
  return askControl(connection, { method: 'POST', path: '/v1/renew', value, signal })
}

async function proveSealingKey(
  { sealing }: AgentPrivateKeys,
  enrollmentKey: Uint8Array,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  const jwk = { kty: 'OKP', crv: 'X25519', x: toBase64Url(enrollmentKey) }
  const publicKey = createPublicKey({ key: jwk, format: 'jwk' })
  const agreed = diffieHellman({ privateKey: sealing, publicKey })
  return sealingProof(agreed, { sealingKey: rawPublicKey(sealing), enrollmentKey }, bytes)
}

function publicTlsKey(keys: AgentPrivateKeys): Uint8Array {
  return new Uint8Array(createPublicKey(keys.tls).export({ type: 'spki', format: 'der' }))
}

function signByTlsKey(keys: AgentPrivateKeys, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(sign('sha256', bytes, { key: keys.tls, dsaEncoding: 'ieee-p1363' }))
}

/**
 * The identity that `answer` grants, or a throw: it has to be for our keys, in the trust domain
 * that was pinned, and its certificate has to verify against the roots that came with it.
 */
export async function acceptGrant(
  answer: unknown,
  { keys, trustDomain, clock }: { keys: AgentPrivateKeys; trustDomain: string; clock: Clock },
): Promise<Granted> {
  const grant = parseGrant(answer)
  const subject = parseSpiffeId(grant.spiffeId)
  // People enrol as agents do: the operator of a fabric is a user with keys of its own.
  const isPrincipal = subject?.kind === 'agent' || subject?.kind === 'user'
  if (!isPrincipal || subject.trustDomain !== trustDomain) {
    throw grantFault('it is for another trust domain, or for no principal')
  }
  const keyIds = {
    signing: await keyThumbprint('Ed25519', rawPublicKey(keys.signing)),
    sealing: await keyThumbprint('X25519', rawPublicKey(keys.sealing)),
  }
  if (grant.signingKeyId !== keyIds.signing || grant.sealingKeyId !== keyIds.sealing) {
    throw grantFault('it is for other keys')
  }
  const chain = grant.certificateChain.map(bytesOf)
  const bundles = bundlesOf(grant)
  const peer = peerIdentity(chain, bundles, clock.now())
  if (peer instanceof PeerFault) {
    if (peer.code === 'CERTIFICATE_EXPIRED') throw new AgentError('IDENTITY_EXPIRED')
    throw grantFault(peer.detail)
  }
  const leaf = parseCertificate(chain[0] ?? new Uint8Array(0))
  if (peer.spiffeId !== grant.spiffeId || !equalBytes(leaf.publicKey, publicTlsKey(keys))) {
    throw grantFault('its certificate is for another name or key')
  }
  return {
    grant,
    spiffeId: grant.spiffeId,
    trustDomain,
    name: subject.name,
    credential: { certificateChain: chain, privateKey: keys.tls },
    bundles,
    issuedAt: leaf.notBefore,
    expiresAt: Math.min(grant.expiresAt, leaf.notAfter),
  }
}

function parseGrant(answer: unknown): EnrollmentGrant {
  try {
    return parseEnrollmentGrant(answer)
  } catch (cause) {
    throw new AgentError('ANSWER_MALFORMED', 'the grant cannot be read', { cause })
  }
}

function bundlesOf(grant: EnrollmentGrant): TrustBundles {
  const bundles = new TrustBundles()
  try {
    for (const [trustDomain, { sequence, roots }] of Object.entries(grant.bundles)) {
      bundles.set(trustDomain, { sequence, roots: roots.map(bytesOf) })
    }
  } catch (cause) {
    throw new AgentError('ANSWER_MALFORMED', 'the roots of the grant cannot be used', { cause })
  }
  return bundles
}

function bytesOf(text: string): Uint8Array {
  return parseBase64Url(text) ?? new Uint8Array(0)
}

function grantFault(detail: string): AgentError {
  return new AgentError('ANSWER_MALFORMED', `the grant is not ours: ${detail}`)
}
