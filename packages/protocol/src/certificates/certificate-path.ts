import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { equalBytes } from '../encoding/bytes.ts'
import type { ClaimedCertificate } from './certificate.ts'

/** Maximum difference between two honest clocks. Linkerd allows the same. */
export const clockSkewMs = 20_000

/** Signatures verified for one peer at most; no honest chain comes near. */
const checksMax = 24

/** An authority that may issue, with its key; its trust is not decided here. */
export interface Authority {
  readonly certificate: ClaimedCertificate
  readonly key: KeyObject
  /** The keys that its signature was verified with: a fact of mathematics, which never ends. */
  readonly signedBy: Set<KeyObject>
}

/** Null when the certificate may not issue, or has a key that we do not accept. */
export function authorityOf(certificate: ClaimedCertificate): Authority | null {
  const key = mayIssue(certificate) ? publicKeyOf(certificate) : null
  return key === null ? null : { certificate, key, signedBy: new Set() }
}

const spiffeSegment = '(?!\\.{1,2}(?:/|$))[A-Za-z0-9._-]+'
const spiffeUri = new RegExp(`^spiffe://([a-z0-9._-]{1,255})((?:/${spiffeSegment})*)$`)

/** SPIFFE ID, section 2, of any trust domain; `path` is empty or starts with a slash. */
export function parseSpiffeUri(text: string): { trustDomain: string; path: string } | null {
  if (text.length > 2048) return null
  const [, trustDomain, path] = spiffeUri.exec(text) ?? []
  return trustDomain === undefined || path === undefined ? null : { trustDomain, path }
}

function mayIssue(certificate: ClaimedCertificate): boolean {
  return (
    certificate.isAuthority &&
    certificate.keyUsage?.certificateSign === true &&
    certificate.unprocessed.length === 0 &&
    // An authority may name its trust domain, but an identity with a path belongs to workloads.
    (certificate.alternativeNames?.uris ?? []).every((uri) => parseSpiffeUri(uri)?.path === '')
  )
}

interface Search {
  readonly authorities: readonly Authority[]
  readonly anchors: readonly Authority[]
  readonly now: number
  checksLeft: number
}

/**
 * The authorities from the issuer of `leaf` to a root, each signed by the next, or null. They may
 * have come in any order; each is used once.
 */
export function findPath(
  leaf: ClaimedCertificate,
  from: Pick<Search, 'authorities' | 'anchors' | 'now'>,
): readonly Authority[] | null {
  return findPathFrom({ ...from, checksLeft: checksMax }, leaf, [])
}

function findPathFrom(
  search: Search,
  leaf: ClaimedCertificate,
  path: readonly Authority[],
): readonly Authority[] | null {
  const subject: Authority | ClaimedCertificate = path.at(-1) ?? leaf
  for (const issuer of search.anchors) {
    if (fits(search, { issuer, leaf, path }) && isSignedBy(search, subject, issuer)) {
      return [...path, issuer]
    }
  }
  for (const issuer of search.authorities) {
    if (path.includes(issuer) || !fits(search, { issuer, leaf, path })) continue
    if (!isSignedBy(search, subject, issuer)) continue
    const whole = findPathFrom(search, leaf, [...path, issuer])
    if (whole !== null) return whole
  }
  return null
}

function fits(
  search: Search,
  step: { issuer: Authority; leaf: ClaimedCertificate; path: readonly Authority[] },
): boolean {
  const issuer = step.issuer.certificate
  const below = step.path.map((each) => each.certificate)
  if (!equalBytes((below.at(-1) ?? step.leaf).issuer, issuer.subject)) return false
  if (!isCurrent(validityOf([issuer]), search.now)) return false
  // RFC 5280, section 6.1.4 (l): authorities that issued themselves do not count.
  const counted = below.filter((each) => !equalBytes(each.issuer, each.subject)).length
  return issuer.pathLengthMax === null || counted <= issuer.pathLengthMax
}

/** AlgorithmIdentifier, hex: which key signs so, and with which hash. SHA-1 has no row. */
const signatureAlgorithms: Readonly<Record<string, { keyType: string; hash: string | null }>> = {
  '300a06082a8648ce3d040302': { keyType: 'ec', hash: 'sha256' },
  '300a06082a8648ce3d040303': { keyType: 'ec', hash: 'sha384' },
  '300a06082a8648ce3d040304': { keyType: 'ec', hash: 'sha512' },
  '300506032b6570': { keyType: 'ed25519', hash: null },
  '300d06092a864886f70d01010b0500': { keyType: 'rsa', hash: 'sha256' },
  '300d06092a864886f70d01010c0500': { keyType: 'rsa', hash: 'sha384' },
  '300d06092a864886f70d01010d0500': { keyType: 'rsa', hash: 'sha512' },
}

function isSignedBy(
  search: Search,
  subject: Authority | ClaimedCertificate,
  issuer: Authority,
): boolean {
  const authority = 'signedBy' in subject ? subject : null
  if (authority?.signedBy.has(issuer.key)) return true
  const certificate = 'signedBy' in subject ? subject.certificate : subject
  const algorithm = signatureAlgorithms[certificate.signatureAlgorithm]
  if (algorithm === undefined || algorithm.keyType !== issuer.key.asymmetricKeyType) return false
  if (search.checksLeft-- <= 0) return false
  const { signedBytes, signature } = certificate
  const signed = verify(algorithm.hash, signedBytes, issuer.key, signature)
  if (signed) authority?.signedBy.add(issuer.key)
  return signed
}

/** Null for a kind or size that we do not accept, and for bytes that are not a key. */
export function publicKeyOf(certificate: ClaimedCertificate): KeyObject | null {
  let key: KeyObject
  try {
    key = createPublicKey({ key: Buffer.from(certificate.publicKey), format: 'der', type: 'spki' })
  } catch {
    return null
  }
  return isAcceptedKey(key) ? key : null
}

function isAcceptedKey(key: KeyObject): boolean {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ec') return ['prime256v1', 'secp384r1'].includes(namedCurve ?? '')
  // SPIRE caps at 8192 as well: a huge modulus is a cheap way to burn our processor.
  if (key.asymmetricKeyType === 'rsa') return modulusLength >= 2048 && modulusLength <= 8192
  return key.asymmetricKeyType === 'ed25519'
}

/** Unix milliseconds; the clock skew is already in it. */
export interface Validity {
  readonly validFrom: number
  readonly expiresAt: number
}

/** The narrowest of all. */
export function validityOf(path: readonly ClaimedCertificate[]): Validity {
  return {
    validFrom: Math.max(...path.map((each) => each.notBefore)) - clockSkewMs,
    expiresAt: Math.min(...path.map((each) => each.notAfter)) + clockSkewMs,
  }
}

function isCurrent({ validFrom, expiresAt }: Validity, now: number): boolean {
  return validFrom <= now && now <= expiresAt
}
