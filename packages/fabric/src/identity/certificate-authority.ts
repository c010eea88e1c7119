import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import {
  equalBytes,
  isTrustDomain,
  parseSpiffeId,
  parseUtf8,
  toHex,
  utf8,
} from '@countersign/protocol'
import {
  PeerFault,
  parseCertificate,
  peerIdentity,
  TrustBundles,
  toPem,
} from '@countersign/protocol/tls'
import { z } from 'zod'
import { type KeyProvider, newestVersion } from '../keys/key-provider.ts'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import { formatPrivateKey, type KeyStore, parsePrivateKey } from '../lib/stored-key.ts'
import type { CertificateTerms, CertificateWriter } from './certificate-writer.ts'
import { serialOfGeneration } from './enrolment-generation.ts'

export interface AuthorityOptions {
  readonly trustDomain: string
  readonly secrets: KeyStore
  /**
   * Signs with the root's key, which may be in a KMS. Null keeps it offline: the authority then
   * runs on its intermediate, and refuses to start without a current one. Needed at the very first
   * start and once a year; leaves are signed by the local intermediate.
   */
  readonly rootKeys: KeyProvider | null
  readonly writer: CertificateWriter
  readonly clock: Clock
  readonly random: Random
}

export interface LeafRequest {
  readonly spiffeId: string
  /** SubjectPublicKeyInfo, DER, ECDSA P-256. Possession of the private key is already proved. */
  readonly tlsPublicKey: Uint8Array
  readonly dnsNames?: readonly string[]
  readonly ipAddresses?: readonly string[]
  readonly lifetimeMs?: number
  /** The enrolment of the agent; absent for what does not enrol. */
  readonly generation?: number
}

export interface IssuedCertificate {
  readonly spiffeId: string
  /** DER: leaf, then intermediate. */
  readonly certificateChain: readonly Uint8Array[]
  /** SHA-256 of the leaf, lower-case hex. */
  readonly fingerprint: string
  /** Unix milliseconds, as written in the leaf. */
  readonly expiresAt: number
}

/** Issues the short-lived certificates of one trust domain. */
export interface Authority {
  readonly trustDomain: string
  /** Holds our own domain; federated domains are added to it. */
  readonly bundles: TrustBundles
  /** The root as text, for clients that verify the fabric by an authorities file. */
  readonly rootPem: string
  /** Rejects when the request is malformed or no current intermediate can be had. */
  issue(request: LeafRequest): Promise<IssuedCertificate>
}

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const rootLifetimeMs = 3_652 * dayMs
const intermediateLifetimeMs = 365 * dayMs
/** Before this much is left, an intermediate is replaced if the root's key can be had. */
const intermediateRenewalMs = 30 * dayMs
const leafLifetimeMsDefault = hourMs
const leafLifetimeMsMax = dayMs
/** Peers whose clocks run behind must accept a certificate at once; more than the allowed skew. */
const backdatedMs = 30_000
/**
 * Root and intermediates are valid from here on, whenever they were made: their own beginning
 * guards nothing, and one made by a clock that was ahead would be refused until the real time has
 * caught up.
 */
const authorityBeginMs = Date.UTC(2025, 0, 1)

const rootKeyName = 'ca/root'
const rootCertificateName = 'ca/root/certificate'
const intermediateName = 'ca/intermediate'

interface Signer {
  readonly certificate: Uint8Array
  readonly key: KeyObject
  /** DER. */
  readonly subject: Uint8Array
  readonly publicKey: Uint8Array
  readonly notBefore: number
  readonly notAfter: number
}

/** The clock of this machine is outside of what certificates can be issued for. */
export class ClockFault extends Error {
  override readonly name = 'ClockFault'
}

/**
 * Opens the authority, creating root and intermediate when there are none. Rejects when what is
 * stored does not belong together: a root that was exchanged must not go unnoticed.
 */
export async function openAuthority(options: AuthorityOptions): Promise<Authority> {
  const { trustDomain, clock } = options
  if (!isTrustDomain(trustDomain)) throw new TypeError('not a trust domain')
  const root = await findOrCreateRoot(options)
  checkClock(root, clock.now())
  const bundles = new TrustBundles()
  bundles.set(trustDomain, { sequence: 1, roots: [root] })

  let intermediate = await currentIntermediate(options, root)
  let renewal: Promise<void> | null = null
  const renewWhenDue = async (): Promise<void> => {
    if (intermediate.notAfter - clock.now() > intermediateRenewalMs) return
    renewal ??= currentIntermediate(options, root)
      .then((renewed) => {
        intermediate = renewed
      })
      .finally(() => {
        renewal = null
      })
    await renewal
  }

  return {
    trustDomain,
    bundles,
    rootPem: toPem(root),
    issue: async (request) => {
      await renewWhenDue()
      return issueLeaf({ options, bundles, signer: intermediate }, request)
    },
  }
}

/**
 * Before anything is issued: an intermediate that ends with an ended root would replace a good one.
 */
function checkClock(root: Uint8Array, now: number): void {
  const { notBefore, notAfter } = parseCertificate(root)
  if (now >= notBefore - backdatedMs && now < notAfter) return
  const time = (at: number) => new Date(at).toISOString()
  throw new ClockFault(
    `the clock reads ${time(now)}, but the root certificate is valid from ${time(notBefore)} to ` +
      `${time(notAfter)}; set the clock of this machine, best by NTP`,
  )
}

async function issueLeaf(
  authority: { options: AuthorityOptions; bundles: TrustBundles; signer: Signer },
  request: LeafRequest,
): Promise<IssuedCertificate> {
  const { options, bundles, signer } = authority
  const id = parseSpiffeId(request.spiffeId)
  if (id?.trustDomain !== options.trustDomain) throw new TypeError('not an identity of this domain')
  const lifetimeMs = request.lifetimeMs ?? leafLifetimeMsDefault
  if (!(lifetimeMs > 0 && lifetimeMs <= leafLifetimeMsMax)) throw new RangeError('lifetime')
  const now = wholeSeconds(options.clock.now())
  const leaf = await options.writer.write({
    subjectName: id.name,
    issuer: signer.subject,
    serialNumber:
      request.generation === undefined
        ? serialNumber(options.random)
        : serialOfGeneration(request.generation, options.random),
    notBefore: now - backdatedMs,
    // A leaf that outlives its issuer would fail at every peer before its own time.
    notAfter: Math.min(now + wholeSeconds(lifetimeMs), signer.notAfter),
    publicKey: assertP256(request.tlsPublicKey),
    issuerPublicKey: signer.publicKey,
    sign: (bytes) => sign('sha256', bytes, { key: signer.key, dsaEncoding: 'ieee-p1363' }),
    authority: null,
    uris: [request.spiffeId],
    dnsNames: request.dnsNames ?? [],
    ipAddresses: request.ipAddresses ?? [],
  })
  const certificateChain = [leaf, signer.certificate]
  // Read back as any peer would: nothing leaves that we would not accept ourselves.
  const peer = peerIdentity(certificateChain, bundles, options.clock.now())
  if (peer instanceof PeerFault || peer.spiffeId !== request.spiffeId) {
    throw new Error(`issued an unusable certificate: ${peer instanceof PeerFault ? peer.code : ''}`)
  }
  const { notAfter } = parseCertificate(leaf)
  const { spiffeId, fingerprint } = peer
  return { spiffeId, certificateChain, fingerprint, expiresAt: notAfter }
}

/** The canonical SubjectPublicKeyInfo of a P-256 key; throws for any other bytes. */
export function assertP256(spki: Uint8Array): Uint8Array {
  let key: KeyObject
  try {
    key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  } catch (cause) {
    throw new TypeError('not a public key', { cause })
  }
  const named = key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
  const canonical = key.export({ type: 'spki', format: 'der' })
  // A compressed point or spelt-out curve parameters would be one key under two names.
  if (
    key.asymmetricKeyType !== 'ec' ||
    !named ||
    spki.length !== 91 ||
    !equalBytes(canonical, spki)
  ) {
    throw new TypeError('not a canonical ECDSA P-256 key')
  }
  return spki
}

async function findOrCreateRoot(options: AuthorityOptions): Promise<Uint8Array> {
  const stored = await options.secrets.find(rootCertificateName)
  if (stored !== null) return stored
  if (options.rootKeys === null) {
    throw new Error('there is no root certificate yet, and the root key is offline')
  }
  // Key first, certificate second: a crash between the two leaves a key, which is used again.
  const { publicKey, sign } = await openRootKey(options.rootKeys)
  const now = wholeSeconds(options.clock.now())
  const certificate = await options.writer.write({
    ...authorityTerms(options, { publicKey, pathLengthMax: 1 }),
    subjectName: nameOf('root', publicKey),
    issuer: null,
    notBefore: authorityBeginMs,
    notAfter: Math.max(now, authorityBeginMs) + rootLifetimeMs,
    issuerPublicKey: publicKey,
    sign,
  })
  // Of two processes that start together, both go on with the key and the certificate of the first.
  return options.secrets.create(rootCertificateName, certificate)
}

const intermediateSchema = z.strictObject({ certificate: z.base64(), key: z.base64() })

/** The stored intermediate, or a new one when that is missing or due and the root can be had. */
async function currentIntermediate(options: AuthorityOptions, root: Uint8Array): Promise<Signer> {
  const stored = await options.secrets.find(intermediateName)
  const present = stored === null ? null : parseIntermediate(stored, root)
  const now = options.clock.now()
  // One of an earlier version may begin later than now: made by a clock that was ahead.
  const isValid = present !== null && present.notBefore - backdatedMs <= now
  const leftMs = isValid ? present.notAfter - now : 0
  if (present !== null && leftMs > intermediateRenewalMs) return present
  if (options.rootKeys !== null) {
    const value = await writeIntermediate(options, options.rootKeys, root)
    if (stored === null) {
      return parseIntermediate(await options.secrets.create(intermediateName, value), root)
    }
    // Of two processes that renew together, each has one that all accept; the last one is stored.
    await options.secrets.put(intermediateName, value)
    return parseIntermediate(value, root)
  }
  if (present !== null && leftMs > 0) return present
  throw new Error('there is no current intermediate, and the root key is offline')
}

function parseIntermediate(stored: Uint8Array, root: Uint8Array): Signer {
  const fields = intermediateSchema.parse(JSON.parse(parseUtf8(stored)))
  const certificate = new Uint8Array(Buffer.from(fields.certificate, 'base64'))
  const key = parsePrivateKey(Buffer.from(fields.key, 'base64'))
  const parsed = parseCertificate(certificate)
  if (!equalBytes(parsed.issuer, parseCertificate(root).subject)) {
    throw new Error('the stored intermediate was not issued by the stored root')
  }
  if (!equalBytes(parsed.publicKey, spkiOf(key))) {
    throw new Error('the stored intermediate has another key')
  }
  return signerOf(certificate, key)
}

async function writeIntermediate(
  options: AuthorityOptions,
  rootKeys: KeyProvider,
  root: Uint8Array,
): Promise<Uint8Array> {
  const { publicKey: rootPublicKey, sign } = await openRootKey(rootKeys)
  const { publicKey: claimed, subject, notAfter } = parseCertificate(root)
  if (!equalBytes(claimed, rootPublicKey)) throw new Error('the root key is of another root')
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const publicKey = spkiOf(privateKey)
  const now = wholeSeconds(options.clock.now())
  const certificate = await options.writer.write({
    ...authorityTerms(options, { publicKey, pathLengthMax: 0 }),
    subjectName: nameOf('intermediate', publicKey),
    issuer: subject,
    notBefore: authorityBeginMs,
    notAfter: Math.min(Math.max(now, authorityBeginMs) + intermediateLifetimeMs, notAfter),
    issuerPublicKey: rootPublicKey,
    sign,
  })
  // One value: a crash can never leave a certificate next to another one's key.
  const value = {
    certificate: Buffer.from(certificate).toString('base64'),
    key: Buffer.from(formatPrivateKey(privateKey)).toString('base64'),
  }
  return utf8(JSON.stringify(value))
}

/** The newest version of the root's key; a rotation between this and a signature is noticed. */
async function openRootKey(
  keys: KeyProvider,
): Promise<{ readonly publicKey: Uint8Array } & Pick<CertificateTerms, 'sign'>> {
  const { version, publicKey } = newestVersion(await keys.open(rootKeyName, 'P-256'))
  if (publicKey === null) throw new TypeError('the key of the root signs nothing')
  return {
    publicKey,
    sign: async (bytes) => {
      const signed = await keys.sign(rootKeyName, bytes)
      if (signed.version === version) return signed.signature
      throw new Error('the key of the root was rotated while it signed')
    },
  }
}

function authorityTerms(
  options: AuthorityOptions,
  { publicKey, pathLengthMax }: { publicKey: Uint8Array; pathLengthMax: number },
): Pick<
  CertificateTerms,
  'serialNumber' | 'publicKey' | 'authority' | 'uris' | 'dnsNames' | 'ipAddresses'
> {
  return {
    serialNumber: serialNumber(options.random),
    publicKey,
    authority: { pathLengthMax },
    // X509-SVID, section 3.2: an authority names its trust domain, without a path.
    uris: [`spiffe://${options.trustDomain}`],
    dnsNames: [],
    ipAddresses: [],
  }
}

function signerOf(certificate: Uint8Array, key: KeyObject): Signer {
  const { subject, publicKey, notBefore, notAfter } = parseCertificate(certificate)
  return { certificate, key, subject, publicKey, notBefore, notAfter }
}

/** Unique for every key, so that the subject alone finds the issuer. */
function nameOf(role: string, publicKey: Uint8Array): string {
  return `${role} ${createHash('sha256').update(publicKey).digest('hex').slice(0, 32)}`
}

/** Sixteen random bytes with the top bit clear and the next set: positive, and never shorter. */
function serialNumber(random: Random): string {
  const bytes = random(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return toHex(bytes)
}

function wholeSeconds(timeMs: number): number {
  return Math.floor(timeMs / 1000) * 1000
}

function spkiOf(key: KeyObject): Uint8Array {
  return new Uint8Array(createPublicKey(key).export({ type: 'spki', format: 'der' }))
}
