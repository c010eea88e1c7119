import { equalBytes, toHex } from '../encoding/bytes.ts'
import {
  DER,
  type DerElement,
  DerError,
  derAscii,
  derBits,
  derBoolean,
  derIntegerBytes,
  derMembers,
  derOid,
  derSmallInteger,
  derTime,
  expectDer,
  readDer,
} from './der.ts'

/** The claims of an X.509 certificate (RFC 5280, section 4), none of them verified. */
export interface ClaimedCertificate {
  readonly encoded: Uint8Array
  /** The signed part, exactly as it came. */
  readonly signedBytes: Uint8Array
  /** The AlgorithmIdentifier with its parameters, lower-case hex. */
  readonly signatureAlgorithm: string
  readonly signature: Uint8Array
  /** Lower-case hex, without a sign byte. */
  readonly serialNumber: string
  /** Names are compared as bytes: a CA copies its own subject into what it issues. */
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  readonly subjectIsEmpty: boolean
  /** Unix milliseconds, both inclusive. */
  readonly notBefore: number
  readonly notAfter: number
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array
  readonly isAuthority: boolean
  /** Number of authorities that may follow below this one; null when unlimited. */
  readonly pathLengthMax: number | null
  readonly keyUsage: KeyUsage | null
  /** Object identifiers; null when any purpose is allowed. */
  readonly extendedKeyUsage: readonly string[] | null
  readonly alternativeNames: AlternativeNames | null
  /** Object identifiers of extensions that a verifier must process and this one does not. */
  readonly unprocessed: readonly string[]
}

export interface KeyUsage {
  readonly critical: boolean
  readonly digitalSignature: boolean
  readonly certificateSign: boolean
  readonly crlSign: boolean
}

export interface AlternativeNames {
  readonly critical: boolean
  readonly uris: readonly string[]
  readonly dnsNames: readonly string[]
  /** Four or sixteen bytes each. */
  readonly ipAddresses: readonly Uint8Array[]
}

/** Larger than any chain element that a sane authority issues, post-quantum ones included. */
export const certificateBytesMax = 16 * 1024

/** Throws a DerError for anything but one strict DER certificate of version 3. */
export function parseCertificate(encoded: Uint8Array): ClaimedCertificate {
  if (encoded.length > certificateBytesMax) throw new DerError('a certificate is too large')
  // Copied, so that a caller who reuses its buffer cannot change what was verified.
  const own = encoded.slice()
  const members = derMembers(readDer(own, DER.sequence))
  const [signed, algorithm, signature] = members
  if (members.length !== 3) throw new DerError('a certificate has three members')
  const body = parseSigned(expectDer(signed, DER.sequence))
  // RFC 5280, section 4.1.1.2: the signed copy of the algorithm must be the same.
  if (!equalBytes(expectDer(algorithm, DER.sequence).encoded, body.algorithm)) {
    throw new DerError('the two signature algorithms differ')
  }
  const bits = derBits(expectDer(signature, DER.bitString))
  if (bits.unused !== 0) throw new DerError('a signature is whole bytes')
  const { algorithm: _, ...fields } = body
  return {
    encoded: own,
    signedBytes: expectDer(signed, DER.sequence).encoded,
    signatureAlgorithm: toHex(body.algorithm),
    signature: bits.bytes,
    ...fields,
  }
}

const explicitVersion = 0xa0
const explicitExtensions = 0xa3
const issuerUniqueId = 0x81
const subjectUniqueId = 0x82

function parseSigned(signed: DerElement) {
  const [version, serial, algorithm, issuer, validity, subject, publicKey, ...rest] =
    derMembers(signed)
  const [number] = derMembers(expectDer(version, explicitVersion))
  if (derSmallInteger(expectDer(number, DER.integer)) !== 2) {
    throw new DerError('only version 3 certificates carry an identity')
  }
  const [notBefore, notAfter, ...more] = derMembers(expectDer(validity, DER.sequence))
  if (more.length > 0) throw new DerError('a validity has two members')
  const tail = rest.filter((each) => each.tag !== issuerUniqueId && each.tag !== subjectUniqueId)
  const [extensions, ...surplus] = tail
  if (surplus.length > 0) throw new DerError('members follow the extensions')
  const subjectName = expectDer(subject, DER.sequence)
  return {
    algorithm: expectDer(algorithm, DER.sequence).encoded,
    serialNumber: toHex(derIntegerBytes(expectDer(serial, DER.integer))).replace(/^00(?=.)/, ''),
    issuer: expectDer(issuer, DER.sequence).encoded,
    subject: subjectName.encoded,
    subjectIsEmpty: subjectName.content.length === 0,
    notBefore: derTime(notBefore),
    notAfter: derTime(notAfter),
    publicKey: expectDer(publicKey, DER.sequence).encoded,
    ...parseExtensions(extensions),
  }
}

interface Extension {
  readonly critical: boolean
  readonly value: Uint8Array
}

const extensionIds = {
  keyUsage: '2.5.29.15',
  alternativeNames: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
} as const

/**
 * Extensions that narrow what an authority may issue. RFC 5280 has them marked critical, but an
 * authority that forgot the mark is still not to be believed beyond them.
 */
const constraints: ReadonlySet<string> = new Set([
  '2.5.29.30', // name constraints, section 4.2.1.10
  '2.5.29.33', // policy mappings, section 4.2.1.5
  '2.5.29.36', // policy constraints, section 4.2.1.11
  '2.5.29.54', // inhibit anyPolicy, section 4.2.1.14
])

function parseExtensions(wrapper: DerElement | undefined) {
  const found = new Map<string, Extension>()
  if (wrapper !== undefined) {
    const [list, ...surplus] = derMembers(expectDer(wrapper, explicitExtensions))
    if (surplus.length > 0) throw new DerError('the extensions are one sequence')
    for (const each of derMembers(expectDer(list, DER.sequence))) addExtension(found, each)
  }
  const known: readonly string[] = Object.values(extensionIds)
  const unknown = [...found].filter(
    ([id, { critical }]) => (critical && !known.includes(id)) || constraints.has(id),
  )
  return {
    ...parseBasicConstraints(found.get(extensionIds.basicConstraints)),
    keyUsage: parseKeyUsage(found.get(extensionIds.keyUsage)),
    extendedKeyUsage: parseExtendedKeyUsage(found.get(extensionIds.extendedKeyUsage)),
    alternativeNames: parseAlternativeNames(found.get(extensionIds.alternativeNames)),
    unprocessed: unknown.map(([id]) => id),
  }
}

function addExtension(found: Map<string, Extension>, element: DerElement): void {
  const members = derMembers(expectDer(element, DER.sequence))
  const [id, second] = members
  const name = derOid(expectDer(id, DER.oid))
  // RFC 5280, section 4.2. Two of a kind let two verifiers each read another one.
  if (found.has(name)) throw new DerError(`extension ${name} occurs twice`)
  const critical = second?.tag === DER.boolean
  if (critical && !derBoolean(second)) throw new DerError('a default is encoded')
  if (members.length !== (critical ? 3 : 2)) throw new DerError('an extension is malformed')
  found.set(name, { critical, value: expectDer(members.at(-1), DER.octetString).content })
}

function parseBasicConstraints(extension: Extension | undefined): {
  isAuthority: boolean
  pathLengthMax: number | null
} {
  if (extension === undefined) return { isAuthority: false, pathLengthMax: null }
  const members = [...derMembers(readDer(extension.value, DER.sequence))]
  const isAuthority = members[0]?.tag === DER.boolean
  if (isAuthority) {
    const [flag] = members.splice(0, 1)
    if (flag === undefined || !derBoolean(flag)) throw new DerError('a default is encoded')
  }
  const [length, ...surplus] = members
  if (surplus.length > 0) throw new DerError('basic constraints are malformed')
  // RFC 5280, section 4.2.1.9: a path length only belongs to an authority.
  if (length !== undefined && !isAuthority) throw new DerError('a leaf has no path length')
  return { isAuthority, pathLengthMax: length === undefined ? null : derSmallInteger(length) }
}

function parseKeyUsage(extension: Extension | undefined): KeyUsage | null {
  if (extension === undefined) return null
  const { bytes } = derBits(readDer(extension.value, DER.bitString))
  const first = bytes[0] ?? 0
  return {
    critical: extension.critical,
    digitalSignature: (first & 0x80) !== 0,
    certificateSign: (first & 0x04) !== 0,
    crlSign: (first & 0x02) !== 0,
  }
}

function parseExtendedKeyUsage(extension: Extension | undefined): readonly string[] | null {
  if (extension === undefined) return null
  return derMembers(readDer(extension.value, DER.sequence)).map(derOid)
}

function parseAlternativeNames(extension: Extension | undefined): AlternativeNames | null {
  if (extension === undefined) return null
  const names = derMembers(readDer(extension.value, DER.sequence))
  const of = (tag: number): Uint8Array[] =>
    names.filter((each) => each.tag === tag).map((each) => each.content)
  const ipAddresses = of(0x87)
  if (ipAddresses.some((address) => address.length !== 4 && address.length !== 16)) {
    throw new DerError('an address has 4 or 16 bytes')
  }
  return {
    critical: extension.critical,
    uris: of(0x86).map(derAscii),
    dnsNames: of(0x82).map(derAscii),
    ipAddresses,
  }
}
