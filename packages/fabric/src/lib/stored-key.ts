import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { Random } from './random.ts'

/** The part of a secret store that keeping a key takes. */
export interface KeyStore {
  /** Null for a name never stored; rejects when a stored value does not authenticate. */
  find(name: string): Promise<Uint8Array | null>
  /** Durable when it resolves. */
  put(name: string, value: Uint8Array): Promise<void>
  /** Stores `value` unless the name has one; resolves to the stored value, durable. */
  create(name: string, value: Uint8Array): Promise<Uint8Array>
}

const generators = {
  Ed25519: () => generateKeyPairSync('ed25519'),
  'P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  X25519: () => generateKeyPairSync('x25519'),
}

export type KeyKind = keyof typeof generators

/** Returns the stored private key, or a new one that is durable before it is used. */
export async function openPrivateKey(
  store: KeyStore,
  name: string,
  kind: KeyKind,
): Promise<KeyObject> {
  const stored = await store.find(name)
  if (stored !== null) return parsePrivateKey(stored)
  const { privateKey } = generators[kind]()
  return parsePrivateKey(await store.create(name, formatPrivateKey(privateKey)))
}

/** Returns the stored symmetric key, or 32 random bytes that are durable before they are used. */
export async function openSymmetricKey(
  store: KeyStore,
  name: string,
  random: Random,
): Promise<Uint8Array> {
  const stored = await store.find(name)
  if (stored !== null) return stored
  return store.create(name, random(32))
}

/** Reads PKCS #8 in DER. */
export function parsePrivateKey(bytes: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(bytes), format: 'der', type: 'pkcs8' })
}

/** Writes PKCS #8 in DER. */
export function formatPrivateKey(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ type: 'pkcs8', format: 'der' }))
}
