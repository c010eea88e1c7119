import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import { equalBytes, parseBase64, toBase64, toHex, utf8 } from '@countersign/protocol'
import type { Random } from '../lib/random.ts'

/** AES-256 keys, and nonces and tags of GCM (NIST SP 800-38D, sections 5.2.1.1 and 8.2). */
const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16
/** Wraps of one data key: the one in force, and during a rotation the next one. */
const wrapsMax = 2

/**
 * The key that wraps data keys, derived from the master key; the master key itself encrypts
 * nothing.
 */
export interface WrappingKey {
  /** Names the key in files without telling anything about it. */
  readonly id: string
  readonly key: KeyObject
}

export interface Wrap {
  readonly key: string
  readonly nonce: Uint8Array
  readonly sealed: Uint8Array
}

/**
 * One version of one secret as it stands on disk: the value under a data key of its own, and that
 * data key under one wrapping key, or two while a rotation is under way.
 */
export interface Envelope {
  readonly name: string
  readonly version: number
  readonly wraps: readonly Wrap[]
  readonly nonce: Uint8Array
  readonly sealed: Uint8Array
}

/** A stored secret that does not authenticate, or that this master key does not open. */
export class SecretRejected extends Error {
  override readonly name = 'SecretRejected'
}

/** HKDF-SHA-256 (RFC 5869) with a label for each use, so that no two uses share a key. */
export function deriveWrappingKey(masterKey: Uint8Array): WrappingKey {
  if (masterKey.length !== keyBytes) throw new TypeError('a master key has 32 bytes')
  const derive = (label: string, length: number): Uint8Array =>
    new Uint8Array(hkdfSync('sha256', masterKey, new Uint8Array(), utf8(label), length))
  const raw = derive('countersign secret-store v1 wrapping key', keyBytes)
  const key = createSecretKey(raw)
  raw.fill(0)
  return { id: toHex(derive('countersign secret-store v1 key id', 8)), key }
}

/** Seals `value` as a fresh version under a fresh data key. */
export function sealEnvelope(
  what: { readonly name: string; readonly version: number; readonly value: Uint8Array },
  keys: readonly WrappingKey[],
  random: Random,
): Envelope {
  const dataKey = random(keyBytes)
  try {
    const nonce = random(nonceBytes)
    const sealed = encrypt(dataKey, { nonce, aad: valueAad(what), plain: what.value })
    const wraps = keys.map((key) => wrapDataKey(dataKey, what, { key, random }))
    return { name: what.name, version: what.version, wraps, nonce, sealed }
  } finally {
    dataKey.fill(0)
  }
}

/** The value. Throws `SecretRejected` unless name, version, wrap and value all authenticate. */
export function unsealEnvelope(envelope: Envelope, key: WrappingKey): Uint8Array {
  const dataKey = unwrapDataKey(envelope, key)
  try {
    const { nonce, sealed } = envelope
    const value = decrypt(dataKey, { nonce, aad: valueAad(envelope), sealed })
    if (value === null) throw new SecretRejected(`secret ${envelope.name} was changed on disk`)
    return value
  } finally {
    dataKey.fill(0)
  }
}

/** The same version under exactly `keys`; the value stays sealed all the while. */
export function rewrapEnvelope(
  envelope: Envelope,
  from: WrappingKey,
  to: { readonly keys: readonly WrappingKey[]; readonly random: Random },
): Envelope {
  const dataKey = unwrapDataKey(envelope, from)
  try {
    const { random } = to
    return {
      ...envelope,
      wraps: to.keys.map((key) => wrapDataKey(dataKey, envelope, { key, random })),
    }
  } finally {
    dataKey.fill(0)
  }
}

function wrapDataKey(
  dataKey: Uint8Array,
  what: { readonly name: string; readonly version: number },
  by: { readonly key: WrappingKey; readonly random: Random },
): Wrap {
  const nonce = by.random(nonceBytes)
  const aad = wrapAad(what, by.key.id)
  return { key: by.key.id, nonce, sealed: encrypt(by.key.key, { nonce, aad, plain: dataKey }) }
}

function unwrapDataKey(envelope: Envelope, key: WrappingKey): Uint8Array {
  const wrap = envelope.wraps.find((candidate) => candidate.key === key.id)
  if (wrap === undefined) {
    throw new SecretRejected(`secret ${envelope.name} is not sealed under this master key`)
  }
  const { nonce, sealed } = wrap
  const dataKey = decrypt(key.key, { nonce, aad: wrapAad(envelope, key.id), sealed })
  if (dataKey === null || dataKey.length !== keyBytes) {
    throw new SecretRejected(`the key of secret ${envelope.name} was changed on disk`)
  }
  return dataKey
}

/**
 * Name and version are authenticated: a file moved to another name, or renumbered, opens nowhere.
 */
function valueAad(what: { readonly name: string; readonly version: number }): Uint8Array {
  return utf8(`countersign secret v1\0value\0${what.name}\0${what.version}`)
}

function wrapAad(
  what: { readonly name: string; readonly version: number },
  key: string,
): Uint8Array {
  return utf8(`countersign secret v1\0key\0${what.name}\0${what.version}\0${key}`)
}

function encrypt(
  key: Uint8Array | KeyObject,
  what: { nonce: Uint8Array; aad: Uint8Array; plain: Uint8Array },
): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, what.nonce).setAAD(what.aad)
  const body = cipher.update(what.plain)
  return new Uint8Array(Buffer.concat([body, cipher.final(), cipher.getAuthTag()]))
}

/** Null when the tag does not fit; nothing of the plaintext is given out before it does. */
function decrypt(
  key: Uint8Array | KeyObject,
  what: { nonce: Uint8Array; aad: Uint8Array; sealed: Uint8Array },
): Uint8Array | null {
  const split = what.sealed.length - tagBytes
  if (split < 0) return null
  const options = { authTagLength: tagBytes }
  const decipher = createDecipheriv('aes-256-gcm', key, what.nonce, options)
  decipher.setAAD(what.aad).setAuthTag(what.sealed.subarray(split))
  const body = decipher.update(what.sealed.subarray(0, split))
  try {
    decipher.final()
    return new Uint8Array(body)
  } catch {
    return null
  } finally {
    body.fill(0)
  }
}

export function writeEnvelope(envelope: Envelope): Uint8Array {
  return utf8(
    `${JSON.stringify({
      format: 'countersign-secret-1',
      name: envelope.name,
      version: envelope.version,
      wraps: envelope.wraps.map((wrap) => ({
        key: wrap.key,
        nonce: toBase64(wrap.nonce),
        sealed: toBase64(wrap.sealed),
      })),
      nonce: toBase64(envelope.nonce),
      sealed: toBase64(envelope.sealed),
    })}\n`,
  )
}

/** Throws `SecretRejected` for anything but the one form that `writeEnvelope` gives. */
export function parseEnvelope(bytes: Uint8Array, label: string): Envelope {
  const rejected = new SecretRejected(`secret ${label} is damaged on disk`)
  let fields: Record<string, unknown>
  try {
    fields = record(JSON.parse(Buffer.from(bytes).toString('utf8')))
  } catch {
    throw rejected
  }
  const { name, version } = fields
  const wraps = parseWraps(fields['wraps'])
  const nonce = parseBytes(fields['nonce'], nonceBytes)
  const sealed = parseBytes(fields['sealed'], null)
  if (typeof name !== 'string' || typeof version !== 'number' || !Number.isSafeInteger(version)) {
    throw rejected
  }
  if (wraps === null || nonce === null || sealed === null) throw rejected
  const envelope = { name, version, wraps, nonce, sealed }
  // One form only: what is not covered by a tag cannot be changed without being noticed here.
  if (!equalBytes(writeEnvelope(envelope), bytes)) throw rejected
  return envelope
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

function parseWraps(value: unknown): Wrap[] | null {
  if (!Array.isArray(value) || value.length < 1 || value.length > wrapsMax) return null
  const wraps: Wrap[] = []
  for (const item of value) {
    const fields = record(item)
    const key = fields['key']
    const nonce = parseBytes(fields['nonce'], nonceBytes)
    const sealed = parseBytes(fields['sealed'], keyBytes + tagBytes)
    if (typeof key !== 'string' || nonce === null || sealed === null) return null
    wraps.push({ key, nonce, sealed })
  }
  return wraps
}

function parseBytes(value: unknown, length: number | null): Uint8Array | null {
  const bytes = typeof value === 'string' ? parseBase64(value) : null
  return bytes === null || (length !== null && bytes.length !== length) ? null : bytes
}
