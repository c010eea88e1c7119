import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { parseUtf8, utf8 } from '@countersign/protocol'
import { z } from 'zod'
import { type KeyAlgorithm, KeyFault } from '../../keys/key-provider.ts'
import type { Random } from '../../lib/random.ts'
import { formatPrivateKey, parsePrivateKey } from '../../lib/stored-key.ts'

/** One version of a key, as the secret store keeps it. */
export interface KeyMaterial {
  readonly algorithm: KeyAlgorithm
  readonly version: number
  /** When the version before this one stops being accepted; null for the first. */
  readonly previousUntil: number | null
  /** PKCS #8, or 32 bytes for AES; null once the version can sign and decrypt nothing any more. */
  readonly key: Uint8Array | null
  /** SubjectPublicKeyInfo; null for AES. */
  readonly publicKey: Uint8Array | null
}

const bytesSchema = z
  .base64()
  .transform((text) => new Uint8Array(Buffer.from(text, 'base64')))
  .nullable()

const materialSchema = z.strictObject({
  v: z.literal(1),
  algorithm: z.enum(['Ed25519', 'P-256', 'AES-256-GCM']),
  version: z.int().min(1),
  previousUntil: z.int().min(0).nullable(),
  key: bytesSchema,
  publicKey: bytesSchema,
})

export function makeMaterial(
  algorithm: KeyAlgorithm,
  of: Pick<KeyMaterial, 'version' | 'previousUntil'>,
  random: Random,
): KeyMaterial {
  if (algorithm === 'AES-256-GCM') return { algorithm, ...of, key: random(32), publicKey: null }
  const { privateKey } =
    algorithm === 'Ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = formatPrivateKey(privateKey)
  return { algorithm, ...of, key, publicKey: publicKeyOf(key) }
}

export function formatMaterial({ key, publicKey, ...rest }: KeyMaterial): Uint8Array {
  const text = (bytes: Uint8Array | null) =>
    bytes === null ? null : Buffer.from(bytes).toString('base64')
  return utf8(JSON.stringify({ v: 1, ...rest, key: text(key), publicKey: text(publicKey) }))
}

/** Throws where the stored value is not this version of this key, however it came there. */
export function parseMaterial(name: string, version: number, stored: Uint8Array): KeyMaterial {
  const damaged = (why: string, cause?: unknown) =>
    new KeyFault('KEY_UNAVAILABLE', `version ${version} of the key ${name} ${why}`, { cause })
  let parsed: z.infer<typeof materialSchema>
  try {
    parsed = materialSchema.parse(JSON.parse(parseUtf8(stored)))
  } catch (cause) {
    throw damaged('cannot be read; restore all of the secrets from one backup', cause)
  }
  const { v: _, ...material } = parsed
  if (material.version !== version) throw damaged('is stored as another version')
  if ((material.algorithm === 'AES-256-GCM') !== (material.publicKey === null)) {
    throw damaged('has no public key')
  }
  return material
}

function publicKeyOf(key: Uint8Array): Uint8Array {
  const spki = createPublicKey(parsePrivateKey(key)).export({ type: 'spki', format: 'der' })
  return new Uint8Array(spki)
}
