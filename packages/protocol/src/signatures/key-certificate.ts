import {
  concat,
  equalBytes,
  parseBase64Url,
  parseUtf8,
  toBase64Url,
  utf8,
} from '../encoding/bytes.ts'
import { canonicalJson } from '../encoding/canonical.ts'
import { isSlotName, isTrustDomain } from '../encoding/ids.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import { parseStrictJson } from '../encoding/strict-json.ts'
import { readMembers } from '../receipts/trust.ts'

/** The uses of a certified key. A key for one of them signs nothing else. */
export const KEY_PURPOSES = ['forward'] as const
export type KeyPurpose = (typeof KEY_PURPOSES)[number]

/**
 * A short-lived key of one process, as the fabric's certifying key (`slotKey` of the trust file)
 * states it. It is worth nothing without that signature over `keyCertificateInput`.
 */
export interface KeyCertificate {
  readonly trustDomain: string
  readonly purpose: KeyPurpose
  /** The log slot of the process; its log has an entry with this certificate. */
  readonly slot: string
  /** Grows with each certificate of a purpose and slot: an older one shows as such. */
  readonly serial: number
  /** Raw Ed25519. */
  readonly publicKey: Uint8Array
  /** Unix milliseconds. */
  readonly notBefore: number
  readonly notAfter: number
  /** The certifying key at its provider. */
  readonly certifier: { readonly name: string; readonly version: number }
}

/** The field in which a signed request carries the certificate of its key. */
export const KEY_CERTIFICATE_FIELD = 'countersign-key'

/** A verifier accepts no longer life, whatever the statement has: a stolen key ends with it. */
export const keyCertificateMsMax: number = 48 * 3_600_000

const textLengthMax = 2_048
const nameLengthMax = 160
/** No other statement of the certifying key begins like this. */
const context = utf8('countersign-key-v1\n')

/** The `keyid` of what the certified key signs: one for each certificate. */
export function certifiedKeyId({
  purpose,
  slot,
  serial,
}: Pick<KeyCertificate, 'purpose' | 'slot' | 'serial'>): string {
  return `${purpose}-${slot}-${serial}`
}

/** The statement as it is signed and sent: canonical JSON (RFC 8785). */
export function encodeKeyCertificate({ publicKey, ...rest }: KeyCertificate): Uint8Array {
  return utf8(canonicalJson({ ...rest, publicKey: toBase64Url(publicKey) }))
}

/** The bytes that the certifying key signs. */
export function keyCertificateInput(statement: Uint8Array): Uint8Array {
  return concat(context, statement)
}

/** `<statement>.<signature>`, each in base64url. */
export function formatKeyCertificate(statement: Uint8Array, signature: Uint8Array): string {
  return `${toBase64Url(statement)}.${toBase64Url(signature)}`
}

export interface SignedKeyCertificate {
  readonly certificate: KeyCertificate
  /** As signed; the signature is not checked yet. */
  readonly statement: Uint8Array
  readonly signature: Uint8Array
}

/** Throws a MalformedError on anything that `formatKeyCertificate` would not write. */
export function parseKeyCertificate(text: string): SignedKeyCertificate {
  if (text.length > textLengthMax) throw new MalformedError('the key certificate is too long')
  const [first = '', second = '', ...others] = text.split('.')
  const [statement, signature] = [parseBase64Url(first), parseBase64Url(second)]
  if (statement === null || signature?.length !== 64 || others.length > 0) {
    throw new MalformedError('the key certificate is not a statement and a signature')
  }
  const certificate = readCertificate(statement)
  // One statement has one form, so that equal certificates are equal texts.
  if (!equalBytes(encodeKeyCertificate(certificate), statement)) {
    throw new MalformedError('the key certificate is not canonical')
  }
  return { certificate, statement, signature }
}

function readCertificate(statement: Uint8Array): KeyCertificate {
  const limits = { charactersMax: textLengthMax, depthMax: 2 }
  const { certifier, ...own } = readMembers(parseStrictJson(parseUtf8(statement), limits), [
    ...(['trustDomain', 'purpose', 'slot', 'serial', 'publicKey'] as const),
    ...(['notBefore', 'notAfter', 'certifier'] as const),
  ])
  const { trustDomain, slot } = own
  const { name, version } = readMembers(certifier, ['name', 'version'] as const)
  const purpose = KEY_PURPOSES.find((each) => each === own.purpose)
  if (purpose === undefined) throw new MalformedError('the purpose of the key is unknown')
  if (!isTrustDomain(trustDomain)) throw new MalformedError('the trust domain is malformed')
  if (!isSlotName(slot)) throw new MalformedError('the name of a slot is malformed')
  if (typeof name !== 'string' || name === '' || name.length > nameLengthMax) {
    throw new MalformedError('the name of the certifying key is malformed')
  }
  const publicKey = typeof own.publicKey === 'string' ? parseBase64Url(own.publicKey) : null
  if (publicKey?.length !== 32) throw new MalformedError('the certified key is malformed')
  return {
    ...{ trustDomain, purpose, slot, publicKey },
    serial: count(own.serial),
    notBefore: count(own.notBefore),
    notAfter: count(own.notAfter),
    certifier: { name, version: count(version) },
  }
}

function count(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new MalformedError('a number of the key certificate is malformed')
}

/** The use for which a verifier needs the key. */
export interface ExpectedKey {
  readonly trustDomain: string
  readonly purpose: KeyPurpose
  readonly slot: string
  /** Unix milliseconds, and the permitted difference of clocks. */
  readonly now: number
  readonly skewMs: number
}

/** The reason why a certificate is not good for `expected`, its signature aside; null if it is. */
export function keyCertificateFault(
  { trustDomain, purpose, slot, notBefore, notAfter }: KeyCertificate,
  expected: ExpectedKey,
): string | null {
  if (trustDomain !== expected.trustDomain) return `the key is of the domain ${trustDomain}`
  if (purpose !== expected.purpose) return 'the key is certified for another purpose'
  if (slot !== expected.slot) return `the key is of the log slot ${slot}`
  if (!(notAfter > notBefore) || notAfter - notBefore > keyCertificateMsMax) {
    return 'the key is certified for too long'
  }
  if (expected.now < notBefore - expected.skewMs) return 'the key is not valid yet'
  if (expected.now >= notAfter + expected.skewMs) return 'the key has expired'
  return null
}
