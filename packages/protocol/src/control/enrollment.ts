import { concat, parseBase64Url, toBase64Url, utf8 } from '../encoding/bytes.ts'
import { isAgentName } from '../encoding/ids.ts'

/**
 * The messages by which an agent becomes known, as JSON over TLS. Every binary value is unpadded
 * base64url.
 *
 * `POST /enroll` carries an `EnrollmentRequest` and needs no client certificate; `POST /renew`
 * carries a `RenewalRequest` over a connection that presented the certificate being renewed. Both
 * answer with an `EnrollmentGrant`, or with a refusal.
 */
export interface EnrollmentRequest {
  readonly version: 1
  /** The one-time join token, `csj_<id>_<secret>`. */
  readonly token: string
  /**
   * The name that the caller expects to receive; a token for another name is refused and stays
   * good.
   */
  readonly name?: string
  /** SubjectPublicKeyInfo, DER, of an ECDSA P-256 key with an uncompressed point (91 bytes). */
  readonly tlsKey: string
  /** Raw Ed25519 public key, 32 bytes (RFC 8032). */
  readonly signingKey: string
  /** Raw X25519 public key, 32 bytes (RFC 7748). */
  readonly sealingKey: string
  /** By the TLS key over `enrollmentProofBytes`: ECDSA with SHA-256, 64 bytes `r ‖ s`. */
  readonly tlsProof: string
  /** By the signing key over `enrollmentProofBytes`: Ed25519, 64 bytes. */
  readonly signingProof: string
  /** `sealingProof` over `enrollmentProofBytes`, 32 bytes. */
  readonly sealingProof: string
}

export interface RenewalRequest {
  readonly version: 1
  /** As in `EnrollmentRequest`; a fresh key, or the present one. */
  readonly tlsKey: string
  /** By the new TLS key over `renewalProofBytes`: ECDSA with SHA-256, 64 bytes `r ‖ s`. */
  readonly tlsProof: string
}

export interface EnrollmentGrant {
  readonly version: 1
  readonly spiffeId: string
  readonly name: string
  /** The required value of the RFC 9421 `keyid` parameter: the thumbprint of the signing key. */
  readonly signingKeyId: string
  readonly sealingKeyId: string
  /** DER, leaf first, the root left out. */
  readonly certificateChain: readonly string[]
  /** Roots of the trust domains that this agent may meet, DER, by trust domain. */
  readonly bundles: Readonly<Record<string, EnrollmentBundle>>
  /** Unix milliseconds; renew at half of the time left. */
  readonly expiresAt: number
}

export interface EnrollmentBundle {
  readonly sequence: number
  readonly roots: readonly string[]
}

/** The longest SubjectPublicKeyInfo that any accepted key needs; P-256 takes 91 bytes. */
const keyBytesMax = 1024
const tokenLengthMax = 128
const rootsMax = 64
const chainMax = 8

/**
 * Returns the bytes that both proofs of an enrolment sign: `countersign-enroll-v1`, a line feed,
 * SHA-256 of the token, the TLS key with its length as two bytes, the signing key, the sealing key.
 * The token is inside, so a proof seen once is worth nothing with another token.
 */
export async function enrollmentProofBytes(keys: {
  readonly token: string
  readonly tlsKey: Uint8Array
  readonly signingKey: Uint8Array
  readonly sealingKey: Uint8Array
}): Promise<Uint8Array> {
  if (keys.signingKey.length !== 32 || keys.sealingKey.length !== 32) {
    throw new TypeError('signing and sealing keys are 32 bytes')
  }
  return concat(
    utf8('countersign-enroll-v1\n'),
    await sha256(utf8(keys.token)),
    withLength(keys.tlsKey),
    keys.signingKey,
    keys.sealingKey,
  )
}

/**
 * Proves possession of a sealing key, which cannot sign: a MAC under what it agrees on with the
 * fabric's enrolment key (static Diffie-Hellman, as in RFC 6955, section 4). `agreed` is X25519 of
 * the two keys; the MAC is HMAC-SHA-256 over `bytes` under HKDF-SHA-256 of it, without salt, with
 * `countersign-enroll-sealing-v1`, a line feed and both public keys as info.
 */
export async function sealingProof(
  agreed: Uint8Array,
  keys: { readonly sealingKey: Uint8Array; readonly enrollmentKey: Uint8Array },
  bytes: Uint8Array,
): Promise<Uint8Array> {
  const info = concat(utf8('countersign-enroll-sealing-v1\n'), keys.sealingKey, keys.enrollmentKey)
  const secret = await crypto.subtle.importKey('raw', new Uint8Array(agreed), 'HKDF', false, [
    'deriveKey',
  ])
  const key = await crypto.subtle.deriveKey(
    { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info: new Uint8Array(info) },
    secret,
    { name: 'HMAC', hash: 'SHA-256', length: 256 },
    false,
    ['sign'],
  )
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, new Uint8Array(bytes)))
}

/**
 * Returns the bytes that the proof of a renewal signs: `countersign-renew-v1`, a line feed, SHA-256
 * of the present leaf certificate (DER), the new TLS key with its length as two bytes.
 */
export function renewalProofBytes(
  presentCertificateSha256: Uint8Array,
  tlsKey: Uint8Array,
): Uint8Array {
  if (presentCertificateSha256.length !== 32) throw new TypeError('a SHA-256 hash is 32 bytes')
  return concat(utf8('countersign-renew-v1\n'), presentCertificateSha256, withLength(tlsKey))
}

/** JWK thumbprint (RFC 7638 with RFC 8037, appendix A.3) of a raw public key: our key ids. */
export async function keyThumbprint(
  curve: 'Ed25519' | 'X25519',
  publicKey: Uint8Array,
): Promise<string> {
  if (publicKey.length !== 32) throw new TypeError(`${curve} keys are 32 bytes`)
  const canonical = `{"crv":"${curve}","kty":"OKP","x":"${toBase64Url(publicKey)}"}`
  return toBase64Url(await sha256(utf8(canonical)))
}

/** Throws a TypeError that names the member, unless `value` is exactly an enrolment request. */
export function parseEnrollmentRequest(value: unknown): EnrollmentRequest {
  const members = [
    'version',
    'token',
    'name',
    'tlsKey',
    'signingKey',
    'sealingKey',
    'tlsProof',
    'signingProof',
    'sealingProof',
  ]
  const object = objectOf(value, members)
  return {
    version: versionOf(object),
    token: textOf(object, 'token', tokenLengthMax),
    ...(object['name'] === undefined ? {} : { name: nameOf(object) }),
    tlsKey: binaryOf(object, 'tlsKey', [1, keyBytesMax]),
    signingKey: binaryOf(object, 'signingKey', [32, 32]),
    sealingKey: binaryOf(object, 'sealingKey', [32, 32]),
    tlsProof: binaryOf(object, 'tlsProof', [64, 64]),
    signingProof: binaryOf(object, 'signingProof', [64, 64]),
    sealingProof: binaryOf(object, 'sealingProof', [32, 32]),
  }
}

/** Throws a TypeError that names the member, unless `value` is exactly a renewal request. */
export function parseRenewalRequest(value: unknown): RenewalRequest {
  const object = objectOf(value, ['version', 'tlsKey', 'tlsProof'])
  return {
    version: versionOf(object),
    tlsKey: binaryOf(object, 'tlsKey', [1, keyBytesMax]),
    tlsProof: binaryOf(object, 'tlsProof', [64, 64]),
  }
}

/** Throws a TypeError that names the member, unless `value` is exactly a grant. */
export function parseEnrollmentGrant(value: unknown): EnrollmentGrant {
  const members = ['version', 'spiffeId', 'name', 'signingKeyId', 'sealingKeyId']
  const object = objectOf(value, [...members, 'certificateChain', 'bundles', 'expiresAt'])
  const name = nameOf(object)
  const expiresAt = object['expiresAt']
  if (typeof expiresAt !== 'number' || !Number.isSafeInteger(expiresAt)) {
    throw new TypeError('expiresAt is not a time')
  }
  return {
    version: versionOf(object),
    spiffeId: textOf(object, 'spiffeId', 2048),
    name,
    signingKeyId: textOf(object, 'signingKeyId', 64),
    sealingKeyId: textOf(object, 'sealingKeyId', 64),
    certificateChain: binariesOf(object, 'certificateChain', chainMax),
    bundles: bundlesOf(object['bundles']),
    expiresAt,
  }
}

function bundlesOf(value: unknown): Readonly<Record<string, EnrollmentBundle>> {
  if (!isRecord(value)) throw new TypeError('bundles is not an object')
  const entries = Object.entries(value).map(([trustDomain, bundle]) => {
    const object = objectOf(bundle, ['sequence', 'roots'])
    const sequence = object['sequence']
    if (typeof sequence !== 'number' || !Number.isSafeInteger(sequence)) {
      throw new TypeError('sequence is not a whole number')
    }
    return [trustDomain, { sequence, roots: binariesOf(object, 'roots', rootsMax) }] as const
  })
  return Object.fromEntries(entries)
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// A member we do not know may be one that a later version relies on: refused, not ignored.
function objectOf(value: unknown, members: readonly string[]): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw new TypeError('not an object')
  for (const key of Object.keys(value)) {
    if (!members.includes(key)) throw new TypeError('an unknown member is present')
  }
  return value
}

function versionOf(object: Readonly<Record<string, unknown>>): 1 {
  if (object['version'] !== 1) throw new TypeError('version is not 1')
  return 1
}

function nameOf(object: Readonly<Record<string, unknown>>): string {
  const name = textOf(object, 'name', 63)
  if (!isAgentName(name)) throw new TypeError('name is not an agent name')
  return name
}

function textOf(
  object: Readonly<Record<string, unknown>>,
  member: string,
  lengthMax: number,
): string {
  const value = object[member]
  if (typeof value !== 'string' || value.length === 0 || value.length > lengthMax) {
    throw new TypeError(`${member} is not a text of at most ${lengthMax} characters`)
  }
  return value
}

function binaryOf(
  object: Readonly<Record<string, unknown>>,
  member: string,
  [bytesMin, bytesMax]: readonly [number, number],
): string {
  const text = textOf(object, member, Math.ceil((bytesMax * 4) / 3))
  const bytes = parseBase64Url(text)
  if (bytes === null || bytes.length < bytesMin || bytes.length > bytesMax) {
    throw new TypeError(`${member} is not base64url of the right length`)
  }
  return text
}

/** Certificates of sane agents stay under 4 KiB; a post-quantum one under 16. */
const certificateBytesMax = 16 * 1024

function binariesOf(
  object: Readonly<Record<string, unknown>>,
  member: string,
  countMax: number,
): readonly string[] {
  const list = object[member]
  if (!Array.isArray(list) || list.length === 0 || list.length > countMax) {
    throw new TypeError(`${member} is not a list of 1 to ${countMax}`)
  }
  return list.map((item: unknown) => binaryOf({ [member]: item }, member, [1, certificateBytesMax]))
}

function withLength(bytes: Uint8Array): Uint8Array {
  if (bytes.length > keyBytesMax) throw new TypeError(`a key is at most ${keyBytesMax} bytes`)
  return concat(Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes)
}

async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(bytes)))
}
