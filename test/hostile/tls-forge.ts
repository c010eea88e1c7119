import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { concat, utf8 } from '@countersign/protocol'
import { parseCertificate, type TlsCredential } from '@countersign/protocol/tls'
import {
  der,
  derBitString,
  derObjectId,
  derOctets,
  derSequence,
  derTimeOf,
  derUnsigned,
  derUtf8,
} from '../../packages/fabric/src/adapters/x509/der-writer.ts'

/** Makes certificates that no honest authority would: every rule can be broken, one at a time. */

export type KeyKind = 'P-256' | 'P-384' | 'P-521' | 'ed25519' | 'rsa-2048' | 'rsa-1024'

export interface Forgery {
  readonly issuer?: Forged
  readonly keyKind?: KeyKind
  readonly key?: KeyObject
  readonly subject?: string | null
  readonly uris?: readonly string[]
  readonly dnsNames?: readonly string[]
  readonly namesCritical?: boolean
  readonly isAuthority?: boolean
  readonly pathLengthMax?: number
  /** First byte of the key usage bits; null leaves the extension out. */
  readonly keyUsage?: number | null
  readonly keyUsageCritical?: boolean
  readonly purposes?: readonly string[] | null
  readonly notBefore?: number
  readonly notAfter?: number
  /** Extensions in DER, put last. */
  readonly extraExtensions?: readonly Uint8Array[]
}

export interface Forged extends TlsCredential {
  readonly certificate: Uint8Array
  readonly privateKey: KeyObject
  readonly notAfter: number
}

export const serverAuth = '1.3.6.1.5.5.7.3.1'
export const clientAuth = '1.3.6.1.5.5.7.3.2'
export const dayMs = 86_400_000

/** The time at which forged certificates are in the middle of their lives: now. */
export const forgedAt = Math.floor(Date.now() / 1000) * 1000

const keys = new Map<KeyKind, KeyObject>()

/** Keys of a kind are made once: the certificates, not the keys, are what tests vary. */
function keyOf(kind: KeyKind): KeyObject {
  const known = keys.get(kind)
  if (known !== undefined) return known
  const key = newKey(kind)
  keys.set(kind, key)
  return key
}

export function newKey(kind: KeyKind = 'P-256'): KeyObject {
  if (kind === 'ed25519') return generateKeyPairSync('ed25519').privateKey
  if (kind === 'rsa-2048' || kind === 'rsa-1024') {
    return generateKeyPairSync('rsa', { modulusLength: Number(kind.slice(4)) }).privateKey
  }
  return generateKeyPairSync('ec', { namedCurve: kind }).privateKey
}

export function spkiOf(key: KeyObject): Uint8Array {
  return new Uint8Array(createPublicKey(key).export({ type: 'spki', format: 'der' }))
}

export function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? [der(0x01, Uint8Array.of(0xff))] : []
  return derSequence(derObjectId(id), ...flag, derOctets(value))
}

function nameOf(text: string | null): Uint8Array {
  if (text === null) return derSequence()
  return derSequence(der(0x31, derSequence(derObjectId('2.5.4.3'), derUtf8(text))))
}

const signatureOids: Readonly<Record<string, string>> = {
  ec: '1.2.840.10045.4.3.2',
  rsa: '1.2.840.113549.1.1.11',
  ed25519: '1.3.101.112',
}

let serial = 1

/** A leaf by default, or an authority; without an issuer it signs itself. */
export function forge(forgery: Forgery = {}): Forged {
  const { issuer, isAuthority = false } = forgery
  const privateKey =
    forgery.key ?? (isAuthority ? newKey(forgery.keyKind) : keyOf(forgery.keyKind ?? 'P-256'))
  const signingKey = issuer?.privateKey ?? privateKey
  const oid = signatureOids[signingKey.asymmetricKeyType ?? ''] ?? ''
  const parameters = oid.startsWith('1.2.840.113549') ? [Uint8Array.of(0x05, 0x00)] : []
  const algorithm = derSequence(derObjectId(oid), ...parameters)
  const subject = nameOf(
    forgery.subject === undefined ? `${isAuthority ? 'ca' : 'leaf'} ${serial}` : forgery.subject,
  )
  const notAfter = forgery.notAfter ?? forgedAt + dayMs
  const body = derSequence(
    der(0xa0, derUnsigned(Uint8Array.of(2))),
    derUnsigned(Uint8Array.of(0x40, (serial >> 8) & 0xff, serial++ & 0xff)),
    algorithm,
    issuer === undefined ? subject : parseCertificate(issuer.certificate).subject,
    derSequence(derTimeOf(forgery.notBefore ?? forgedAt - dayMs), derTimeOf(notAfter)),
    subject,
    spkiOf(privateKey),
    der(0xa3, derSequence(...extensionsOf(forgery))),
  )
  const digest = signingKey.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  const certificate = derSequence(body, algorithm, derBitString(sign(digest, body, signingKey)))
  const above = (issuer?.certificateChain ?? []).filter((each) => !isRoot(each))
  return { certificate, certificateChain: [certificate, ...above], privateKey, notAfter }
}

function isRoot(certificate: Uint8Array): boolean {
  const { issuer, subject } = parseCertificate(certificate)
  return Buffer.compare(issuer, subject) === 0
}

function extensionsOf(forgery: Forgery): readonly Uint8Array[] {
  const { isAuthority = false, pathLengthMax } = forgery
  const length = pathLengthMax === undefined ? [] : [derUnsigned(Uint8Array.of(pathLengthMax))]
  const constraints = isAuthority
    ? derSequence(der(0x01, Uint8Array.of(0xff)), ...length)
    : derSequence()
  const usage = forgery.keyUsage === undefined ? (isAuthority ? 0x06 : 0x80) : forgery.keyUsage
  const purposes =
    forgery.purposes === undefined
      ? isAuthority
        ? null
        : [serverAuth, clientAuth]
      : forgery.purposes
  const uris = forgery.uris ?? (isAuthority ? [] : ['spiffe://a.test/agent/alice'])
  const names = [
    ...uris.map((uri) => der(0x86, utf8(uri))),
    ...(forgery.dnsNames ?? (isAuthority ? [] : ['localhost'])).map((name) =>
      der(0x82, utf8(name)),
    ),
  ]
  return [
    extension('2.5.29.19', true, constraints),
    ...(usage === null
      ? []
      : [
          extension(
            '2.5.29.15',
            forgery.keyUsageCritical ?? true,
            derBitString(Uint8Array.of(usage)),
          ),
        ]),
    ...(purposes === null
      ? []
      : [extension('2.5.29.37', false, derSequence(...purposes.map(derObjectId)))]),
    ...(names.length === 0
      ? []
      : [extension('2.5.29.17', forgery.namesCritical ?? false, derSequence(...names))]),
    ...(forgery.extraExtensions ?? []),
  ]
}

/** A root of its own, an intermediate below it. */
export function forgeDomain(): { readonly root: Forged; readonly intermediate: Forged } {
  const root = forge({ isAuthority: true, notAfter: forgedAt + 100 * dayMs })
  const intermediate = forge({ isAuthority: true, issuer: root, pathLengthMax: 0 })
  return { root, intermediate }
}

/** `bytes` with one bit changed. */
export function flipBit(bytes: Uint8Array, at: number): Uint8Array {
  const copy = concat(bytes)
  copy[at >> 3] = (copy[at >> 3] ?? 0) ^ (1 << (at & 7))
  return copy
}
