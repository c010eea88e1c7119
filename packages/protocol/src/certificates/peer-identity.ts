import { hash } from 'node:crypto'
import { equalBytes } from '../encoding/bytes.ts'
import { isTrustDomain } from '../encoding/ids.ts'
import { type ClaimedCertificate, parseCertificate } from './certificate.ts'
import {
  type Authority,
  authorityOf,
  findPath,
  parseSpiffeUri,
  publicKeyOf,
  type Validity,
  validityOf,
} from './certificate-path.ts'
import { DerError } from './der.ts'

/** The identity that a certificate proves for its holder. */
export interface PeerIdentity {
  /** Exactly as in the certificate; lower case up to the path. */
  readonly spiffeId: string
  readonly trustDomain: string
  /** Of the leaf: lower-case hex without leading zeros. */
  readonly serialNumber: string
  /** SHA-256 of the leaf in lower-case hex. */
  readonly fingerprint: string
  /** Unix milliseconds: the narrowest window of the whole path, widened by the clock skew. */
  readonly validFrom: number
  readonly expiresAt: number
}

export type PeerFaultCode =
  | 'CERTIFICATE_MISSING'
  | 'CERTIFICATE_MALFORMED'
  | 'CERTIFICATE_EXPIRED'
  | 'CERTIFICATE_NOT_YET_VALID'
  | 'CERTIFICATE_UNSUITABLE'
  | 'IDENTITY_MISSING'
  | 'IDENTITY_AMBIGUOUS'
  | 'TRUST_DOMAIN_UNKNOWN'
  | 'CHAIN_UNTRUSTED'
  | 'PEER_UNEXPECTED'

export { clockSkewMs, parseSpiffeUri } from './certificate-path.ts'

/** The reason why a peer has no identity. Returned, never thrown. */
export class PeerFault {
  readonly code: PeerFaultCode
  readonly detail: string

  constructor(code: PeerFaultCode, detail: string) {
    this.code = code
    this.detail = detail
  }
}

/** A leaf, its authorities and a root that some servers send along. */
const chainMax = 6

const rootsMax = 64

/** One entry is about 500 bytes; a fabric of that many live peers has other worries. */
const verdictsMax = 8192

/** Intermediates that recur in the chains of many peers. */
const authoritiesMax = 256

interface Bundle {
  readonly sequence: number
  readonly roots: readonly Uint8Array[]
  readonly anchors: readonly Authority[]
}

interface Verdict {
  readonly identity: PeerIdentity
  readonly sequence: number
}

/** The result for one chain, and the time within which no certificate that it rests on changes. */
interface Outcome extends Validity {
  readonly peer: PeerIdentity | PeerFault
  readonly version: number
}

/**
 * The roots of each trust domain, kept apart: an authority of one domain cannot vouch for another.
 */
export class TrustBundles {
  readonly #bundles = new Map<string, Bundle>()
  readonly #verdicts = new Map<string, Verdict>()
  readonly #authorities = new Map<string, Authority>()
  /**
   * By the array that holds the chain, which lives as long as its connection: an unauthenticated
   * client cannot fill this, nor make each of its requests cost the signatures of a whole path.
   * Time is not part of an outcome: it is compared on each use.
   */
  readonly #outcomes = new WeakMap<readonly Uint8Array[], Outcome>()
  #version = 0

  /**
   * Replaces the bundle of one domain. An empty list of roots revokes everything that it issued.
   *
   * Throws a TypeError when a root is not a usable authority, and a RangeError when `sequence` is
   * behind the present one or repeats it with other roots: an old bundle must not come back.
   */
  set(trustDomain: string, bundle: { sequence: number; roots: readonly Uint8Array[] }): void {
    if (!isTrustDomain(trustDomain)) throw new TypeError('not a trust domain')
    if (bundle.roots.length > rootsMax) throw new TypeError(`at most ${rootsMax} roots`)
    const present = this.#bundles.get(trustDomain)
    if (present !== undefined && bundle.sequence <= present.sequence) {
      const same =
        bundle.sequence === present.sequence &&
        bundle.roots.length === present.roots.length &&
        bundle.roots.every((root, i) => equalBytes(root, present.roots[i] ?? new Uint8Array()))
      if (same) return
      throw new RangeError(`bundle ${bundle.sequence} of ${trustDomain} is not newer`)
    }
    const anchors = bundle.roots.map((root) => {
      const authority = authorityOf(parseCertificate(root))
      if (authority === null) throw new TypeError('a root is not a usable authority')
      return authority
    })
    const roots = anchors.map(({ certificate }) => certificate.encoded)
    this.#bundles.set(trustDomain, { sequence: bundle.sequence, roots, anchors })
    this.#version += 1
    this.#verdicts.clear()
    this.#authorities.clear()
  }

  remove(trustDomain: string): void {
    this.#bundles.delete(trustDomain)
    this.#version += 1
    this.#verdicts.clear()
  }

  domains(): readonly string[] {
    return [...this.#bundles.keys()]
  }

  find(trustDomain: string): { sequence: number; roots: readonly Uint8Array[] } | null {
    return this.#bundles.get(trustDomain) ?? null
  }

  /**
   * For `peerIdentity` only: returns the holder of this chain, or why it proves none. The result is
   * remembered for the array, which must not change afterwards.
   */
  identify(chain: readonly Uint8Array[], now: number): PeerIdentity | PeerFault {
    const known = this.#outcomes.get(chain)
    if (known?.version === this.#version && timeFault(known, now) === null) return known.peer
    const [leafBytes, ...others] = chain
    if (leafBytes === undefined) return new PeerFault('CERTIFICATE_MISSING', 'no certificate')
    if (chain.length > chainMax) return new PeerFault('CERTIFICATE_MALFORMED', 'chain too long')
    const fingerprint = hash('sha256', leafBytes, 'hex')
    const weighed: ClaimedCertificate[] = []
    const verified = this.#findVerdict(fingerprint, now)
    const peer = verified ?? this.#verify({ leafBytes, others, fingerprint, now, weighed })
    const { validFrom, expiresAt } =
      peer instanceof PeerFault ? unchangedAround(now, weighed) : peer
    this.#outcomes.set(chain, { peer, version: this.#version, validFrom, expiresAt })
    if (verified === null && !(peer instanceof PeerFault)) this.#remember(peer)
    return peer
  }

  // Only good verdicts are kept by the leaf: they hold whatever else the peer sends along. Time is
  // not part of a verdict and is compared on every use (the first trap of resumed and long
  // connections).
  #findVerdict(fingerprint: string, now: number): PeerIdentity | null {
    const verdict = this.#verdicts.get(fingerprint)
    if (verdict === undefined || timeFault(verdict.identity, now) !== null) return null
    const bundle = this.#bundles.get(verdict.identity.trustDomain)
    return bundle?.sequence === verdict.sequence ? verdict.identity : null
  }

  #remember(identity: PeerIdentity): void {
    if (this.#verdicts.size >= verdictsMax) {
      const oldest = this.#verdicts.keys().next()
      if (oldest.done !== true) this.#verdicts.delete(oldest.value)
    }
    const sequence = this.#bundles.get(identity.trustDomain)?.sequence ?? 0
    this.#verdicts.set(identity.fingerprint, { identity, sequence })
  }

  #verify(peer: {
    leafBytes: Uint8Array
    others: readonly Uint8Array[]
    fingerprint: string
    now: number
    /** Receives every certificate whose validity the verdict rests on. */
    weighed: ClaimedCertificate[]
  }): PeerIdentity | PeerFault {
    const leaf = parseOrFault(peer.leafBytes)
    if (leaf instanceof PeerFault) return leaf
    peer.weighed.push(leaf)
    const subject = subjectOf(leaf)
    if (subject instanceof PeerFault) return subject
    const unsuitable = checkLeaf(leaf)
    if (unsuitable !== null) return unsuitable
    const untimely = timeFault(validityOf([leaf]), peer.now)
    if (untimely !== null) return untimely
    // The domain comes from the leaf, the roots from that domain alone: an authority of a
    // federated domain that issues our names finds no root here (the fourth trap).
    const bundle = this.#bundles.get(subject.trustDomain)
    if (bundle === undefined) {
      return new PeerFault('TRUST_DOMAIN_UNKNOWN', `no bundle for ${subject.trustDomain}`)
    }
    const authorities: Authority[] = []
    for (const bytes of peer.others) {
      const authority = this.#admitAuthority(bytes)
      if (authority instanceof PeerFault) return authority
      if (authority !== null) authorities.push(authority)
    }
    peer.weighed.push(...[...authorities, ...bundle.anchors].map((each) => each.certificate))
    const path = findPath(leaf, { authorities, anchors: bundle.anchors, now: peer.now })
    if (path === null) {
      return new PeerFault('CHAIN_UNTRUSTED', `no path to a root of ${subject.trustDomain}`)
    }
    this.#keepAuthorities(path.filter((each) => !bundle.anchors.includes(each)))
    return {
      ...subject,
      serialNumber: leaf.serialNumber,
      fingerprint: peer.fingerprint,
      ...validityOf([leaf, ...path.map((each) => each.certificate)]),
    }
  }

  #admitAuthority(bytes: Uint8Array): Authority | PeerFault | null {
    const fingerprint = hash('sha256', bytes, 'hex')
    const known = this.#authorities.get(fingerprint)
    if (known !== undefined) return known
    const certificate = parseOrFault(bytes)
    if (certificate instanceof PeerFault) return certificate
    return authorityOf(certificate)
  }

  // Kept by hash, so that the next peer with the same intermediate costs one signature, not two.
  // Only those of a trusted path: others would occupy memory for any client that shows them.
  #keepAuthorities(authorities: readonly Authority[]): void {
    for (const authority of authorities) {
      const fingerprint = hash('sha256', authority.certificate.encoded, 'hex')
      if (this.#authorities.has(fingerprint)) continue
      if (this.#authorities.size >= authoritiesMax) this.#authorities.clear()
      this.#authorities.set(fingerprint, authority)
    }
  }
}

/** The longest time around `now` in which none of the certificates begins or ends to be valid. */
function unchangedAround(now: number, certificates: readonly ClaimedCertificate[]): Validity {
  let [validFrom, expiresAt] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (const certificate of certificates) {
    const window = validityOf([certificate])
    if (now < window.validFrom) expiresAt = Math.min(expiresAt, window.validFrom - 1)
    else validFrom = Math.max(validFrom, window.validFrom)
    if (now > window.expiresAt) validFrom = Math.max(validFrom, window.expiresAt + 1)
    else expiresAt = Math.min(expiresAt, window.expiresAt)
  }
  return { validFrom, expiresAt }
}

function parseOrFault(bytes: Uint8Array): ClaimedCertificate | PeerFault {
  try {
    return parseCertificate(bytes)
  } catch (error) {
    if (error instanceof DerError) return new PeerFault('CERTIFICATE_MALFORMED', error.message)
    throw error
  }
}

function subjectOf(
  leaf: ClaimedCertificate,
): { spiffeId: string; trustDomain: string } | PeerFault {
  const [spiffeId, ...others] = leaf.alternativeNames?.uris ?? []
  if (spiffeId === undefined) return new PeerFault('IDENTITY_MISSING', 'no URI name')
  // X509-SVID, section 2: more than one URI must be refused, regardless of the contents of the
  // others.
  if (others.length > 0) return new PeerFault('IDENTITY_AMBIGUOUS', 'more than one URI name')
  const parsed = parseSpiffeUri(spiffeId)
  if (parsed === null || parsed.path === '') {
    return new PeerFault('IDENTITY_MISSING', 'the URI name is not a SPIFFE ID of a workload')
  }
  return { spiffeId, trustDomain: parsed.trustDomain }
}

const serverAuth = '1.3.6.1.5.5.7.3.1'
const clientAuth = '1.3.6.1.5.5.7.3.2'

/** X509-SVID, sections 4 and 5.2. */
function checkLeaf(leaf: ClaimedCertificate): PeerFault | null {
  const no = (detail: string): PeerFault => new PeerFault('CERTIFICATE_UNSUITABLE', detail)
  if (leaf.isAuthority) return no('an authority presents itself as a workload')
  const usage = leaf.keyUsage
  if (usage === null || !usage.critical) return no('key usage is absent or not critical')
  if (!usage.digitalSignature) return no('the key may not sign')
  if (usage.certificateSign || usage.crlSign) return no('a workload key may sign certificates')
  const purposes = leaf.extendedKeyUsage
  if (purposes !== null && !(purposes.includes(serverAuth) && purposes.includes(clientAuth))) {
    return no('extended key usage lacks serverAuth or clientAuth')
  }
  if (leaf.subjectIsEmpty && leaf.alternativeNames?.critical === false) {
    return no('with an empty subject the names must be critical')
  }
  if (leaf.unprocessed.length > 0)
    return no(`extensions not processed: ${leaf.unprocessed.join(' ')}`)
  return publicKeyOf(leaf) === null ? no('the key is of a kind or size not accepted') : null
}

function timeFault(window: Validity, now: number): PeerFault | null {
  if (now < window.validFrom) return new PeerFault('CERTIFICATE_NOT_YET_VALID', 'not valid yet')
  if (now > window.expiresAt) return new PeerFault('CERTIFICATE_EXPIRED', 'expired')
  return null
}
