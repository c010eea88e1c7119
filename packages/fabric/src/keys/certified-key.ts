import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import {
  certifiedKeyId,
  encodeKeyCertificate,
  formatKeyCertificate,
  type KeyCertificate,
  type KeyPurpose,
  keyCertificateInput,
} from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import { formatPrivateKey, type KeyStore } from '../lib/stored-key.ts'
import { findStoredKey, isCertifiedBy, storeKey } from './certified-key-store.ts'
import { KeyFault, type KeyProvider, newestVersion } from './key-provider.ts'

/** A certificate, before its key signs anything. */
export interface Certification {
  readonly certificate: KeyCertificate
  /** As verifiers receive it. */
  readonly text: string
}

export interface CertifiedKeyOptions {
  readonly provider: KeyProvider
  /** The certifying key, an Ed25519 key at the provider. */
  readonly certifier: string
  readonly trustDomain: string
  readonly purpose: KeyPurpose
  /** The log slot of this process, whose log has the certificates. */
  readonly slot: string
  readonly secrets: KeyStore
  /** Makes a certification durable in the log; rejects where that fails. */
  readonly record: (certification: Certification) => Promise<void>
  readonly clock: Clock
  readonly lifetimeMs?: number
  /** Receives the cause of a renewal that failed, which is tried again. */
  readonly onFailure?: (error: unknown) => void
}

/** A short-lived key of this process, which signs without waiting for its provider. */
export interface CertifiedKey {
  /** Of the present key; both change with each renewal, and belong together. */
  readonly keyId: string
  readonly certificate: string
  readonly publicKey: Uint8Array
  /** The reason why it signs nothing at this moment; null while it signs. Costs nothing. */
  fault(): string | null
  /** Raw Ed25519. Throws a KeyFault where `fault` returns one: a verifier would refuse it. */
  sign(bytes: Uint8Array): Uint8Array
  /** Certifies a new key now; also happens by itself at half of the life of one. */
  renew(): Promise<void>
  close(): void
}

/** A provider may be away for half of it. */
const lifetimeMsDefault = 24 * 3_600_000
/** Verifiers whose clocks run behind must accept a new key at once. */
const backdatedMs = 60_000
/** Between tries after a failed renewal, and between two looks at the clock. */
const lookMs = 30_000

/** The key in use. Owned by one `openCertifiedKey`, which replaces it as a whole. */
export interface LocalKey extends Certification {
  readonly privateKey: KeyObject
}

/**
 * Opens the certified key of a process: the stored one while half of its life is left, or a new
 * one. Rejects if it has none that is valid and the provider certifies none: nothing could be
 * signed.
 */
export async function openCertifiedKey(options: CertifiedKeyOptions): Promise<CertifiedKey> {
  const { clock } = options
  const stored = await findStoredKey(options)
  const isGood = stored !== null && faultOf(stored, clock.now()) === null
  let current = isGood ? stored : await certify(options, stored)
  let timer: NodeJS.Timeout | undefined
  let renewal: Promise<void> | null = null
  let closed = false

  const renew = (): Promise<void> => {
    renewal ??= certify(options, current)
      .then((made) => {
        current = made
      })
      .finally(() => {
        renewal = null
      })
    return renewal
  }
  // The wall clock decides: a clock that was set makes a certificate useless before a timer ends.
  const look = (): void => {
    if (closed) return
    timer = setTimeout(() => {
      const due = isDue(current.certificate, clock.now()) ? renew() : Promise.resolve()
      due.catch((error: unknown) => options.onFailure?.(error)).finally(look)
    }, lookMs)
    timer.unref()
  }
  look()
  return {
    get keyId() {
      return certifiedKeyId(current.certificate)
    },
    get certificate() {
      return current.text
    },
    get publicKey() {
      return current.certificate.publicKey
    },
    fault: () => faultOf(current, clock.now()),
    sign(bytes) {
      const fault = faultOf(current, clock.now())
      if (fault !== null) throw new KeyFault('KEY_UNAVAILABLE', fault)
      return sign(null, bytes, current.privateKey)
    },
    renew,
    close() {
      closed = true
      clearTimeout(timer)
    },
  }
}

function isDue({ notBefore, notAfter }: KeyCertificate, now: number): boolean {
  return now < notBefore || now >= (notBefore + notAfter) / 2
}

function faultOf({ certificate }: Certification, now: number): string | null {
  const { purpose, notBefore, notAfter, certifier } = certificate
  if (now >= notBefore && now < notAfter) return null
  const when = now < notBefore ? 'is not valid yet' : 'has expired'
  return `the key for ${purpose} ${when}, and ${certifier.name} has certified no other one`
}

/** In this order: certified, on record, stored, in use. A crash leaves at most an unused one. */
async function certify(
  options: CertifiedKeyOptions,
  before: Certification | null,
): Promise<LocalKey> {
  const { provider, certifier, trustDomain, purpose, slot, clock } = options
  const { version } = newestVersion(await provider.open(certifier, 'Ed25519'))
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const now = clock.now()
  const certificate: KeyCertificate = {
    ...{ trustDomain, purpose, slot, certifier: { name: certifier, version } },
    // By the time, so that it grows also where the stored key was lost; never twice.
    serial: Math.max(now, (before?.certificate.serial ?? 0) + 1),
    publicKey: rawPublicKey(publicKey),
    notBefore: now - backdatedMs,
    notAfter: now + (options.lifetimeMs ?? lifetimeMsDefault),
  }
  const statement = encodeKeyCertificate(certificate)
  const { signature } = await provider.sign(certifier, keyCertificateInput(statement))
  const versions = await provider.open(certifier, 'Ed25519')
  // Read back as a verifier would: a version that was rotated meanwhile states another one.
  if (!isCertifiedBy({ certificate, statement, signature }, versions)) {
    const text = `${provider.engine} signed with another version of ${certifier} than it stated`
    throw new KeyFault('KEY_UNAVAILABLE', text)
  }
  const certification = { certificate, text: formatKeyCertificate(statement, signature) }
  await options.record(certification)
  await storeKey(options, certification.text, formatPrivateKey(privateKey))
  return { ...certification, privateKey }
}

/** The 32 bytes at the end of an Ed25519 SubjectPublicKeyInfo (RFC 8410, section 4). */
function rawPublicKey(key: KeyObject): Uint8Array {
  const spki = key.export({ format: 'der', type: 'spki' })
  return new Uint8Array(spki.subarray(-32))
}
