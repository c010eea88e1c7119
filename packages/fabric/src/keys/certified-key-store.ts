import { createPublicKey, verify } from 'node:crypto'
import {
  equalBytes,
  keyCertificateFault,
  keyCertificateInput,
  parseBase64,
  parseKeyCertificate,
  parseStrictJson,
  parseUtf8,
  type SignedKeyCertificate,
  toBase64,
  utf8,
} from '@countersign/protocol'
import { parsePrivateKey } from '../lib/stored-key.ts'
import type { CertifiedKeyOptions, LocalKey } from './certified-key.ts'
import { KeyFault, type KeyVersion } from './key-provider.ts'

type Place = Pick<CertifiedKeyOptions, 'secrets' | 'purpose' | 'slot'>

const secretName = ({ purpose, slot }: Place): string => `certified/${purpose}/${slot}`

/** One value: a crash never leaves a certificate next to another one's key. */
export async function storeKey(place: Place, text: string, key: Uint8Array): Promise<void> {
  await place.secrets.put(
    secretName(place),
    utf8(JSON.stringify({ certificate: text, key: toBase64(key) })),
  )
}

/**
 * The key of an earlier start of this slot; null where there is none, or none that is to be used:
 * of another domain, purpose or slot, of a certifying key that is not accepted any more, or of
 * another private key. A new one is certified then. An expired one is returned, for its serial.
 */
export async function findStoredKey(options: CertifiedKeyOptions): Promise<LocalKey | null> {
  const stored = await options.secrets.find(secretName(options))
  if (stored === null) return null
  const { certificate: text, key } = parseStrictJson(parseUtf8(stored)) as {
    readonly [name: string]: unknown
  }
  const bytes = typeof key === 'string' ? parseBase64(key) : null
  if (typeof text !== 'string' || bytes === null) {
    throw new Error(`the secret ${secretName(options)} is malformed`)
  }
  const signed = parseKeyCertificate(text)
  const { certificate } = signed
  const { provider, certifier, trustDomain, purpose, slot } = options
  const expected = { trustDomain, purpose, slot, now: certificate.notBefore, skewMs: 0 }
  if (keyCertificateFault(certificate, expected) !== null) return null
  if (certificate.certifier.name !== certifier) return null
  const privateKey = parsePrivateKey(bytes)
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  if (!equalBytes(spki.subarray(-32), certificate.publicKey)) return null
  // A provider that is away does not stop a process whose key is valid: it was checked when stored.
  const versions = await provider.open(certifier, 'Ed25519').catch(nullIfAway)
  if (versions !== null && !isCertifiedBy(signed, versions)) return null
  return { certificate, text, privateKey }
}

function nullIfAway(error: unknown): null {
  const isAway =
    error instanceof KeyFault && (error.code === 'KEY_UNAVAILABLE' || error.code === 'KEY_TIMEOUT')
  if (isAway) return null
  throw error
}

/**
 * Returns true if a version that is still accepted signed the certificate, and the certificate
 * states that version.
 */
export function isCertifiedBy(
  { certificate, statement, signature }: SignedKeyCertificate,
  versions: readonly KeyVersion[],
): boolean {
  const by = versions.find(({ version }) => version === certificate.certifier.version)
  if (by?.algorithm !== 'Ed25519' || by.publicKey === null) return false
  const key = createPublicKey({ key: Buffer.from(by.publicKey), format: 'der', type: 'spki' })
  return verify(null, keyCertificateInput(statement), key, signature)
}
