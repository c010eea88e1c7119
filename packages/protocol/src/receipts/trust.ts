import { equalBytes, parseBase64, toBase64, utf8 } from '../encoding/bytes.ts'
import { canonicalJson, type JsonValue } from '../encoding/canonical.ts'
import { isTrustDomain } from '../encoding/ids.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import { parseStrictJson } from '../encoding/strict-json.ts'
import { isNoteKeyName, noteKeyType, parseVkey } from '../log/note.ts'
import { sha256 } from '../signatures/web-crypto.ts'

/** The values that an auditor pins, once, out of band: all that a receipt is verified against. */
export interface Trust {
  /** The log's name, and that of its key. */
  readonly origin: string
  /** The log's key, a C2SP vkey of type Ed25519. */
  readonly vkey: string
  /** The key of the statements, as their `kid` names it; a raw Ed25519 public key. */
  readonly statementKey: { readonly keyId: Uint8Array; readonly publicKey: Uint8Array }
  readonly trustDomain: string
  /** Raw Ed25519 public key with which the fabric signs messages in place of a party. */
  readonly fabricKey: Uint8Array
}

/**
 * A trust file is about half a kilobyte, and a root certificate of the longer document another one.
 */
const trustCharactersMax = 16_384
const documentCharactersMax = 262_144
const trustVersion = 1

export function formatTrust(trust: Trust): string {
  return `${JSON.stringify(trustJson(trust), null, 2)}\n`
}

/**
 * Returns the fingerprint that two people compare out of band: SHA-256 over the trust file's
 * members as canonical JSON (RFC 8785), so that neither white space nor the longer document of `GET
 * /v1/trust` changes it. Written as OpenSSH writes the fingerprint of a key: `SHA256:` and unpadded
 * base64.
 */
export async function trustFingerprint(trust: Trust): Promise<string> {
  const digest = await sha256(utf8(canonicalJson(trustJson(trust))))
  return `SHA256:${toBase64(digest).replaceAll('=', '')}`
}

function trustJson(trust: Trust) {
  return {
    v: trustVersion,
    origin: trust.origin,
    vkey: trust.vkey,
    statementKey: {
      keyId: toBase64(trust.statementKey.keyId),
      publicKey: toBase64(trust.statementKey.publicKey),
    },
    trustDomain: trust.trustDomain,
    fabricKey: toBase64(trust.fabricKey),
  }
}

/** Throws a MalformedError on an unknown or missing member, and on keys that are none. */
export function parseTrust(text: string): Trust {
  const limits = { charactersMax: trustCharactersMax, depthMax: 2 }
  const names = ['v', 'origin', 'vkey', 'statementKey', 'trustDomain', 'fabricKey'] as const
  const document = readMembers(parseStrictJson(text, limits), names)
  if (document.v !== trustVersion) throw new MalformedError('the trust file has another version')
  const { origin, vkey, trustDomain } = document
  if (typeof origin !== 'string' || !isNoteKeyName(origin)) {
    throw new MalformedError('the origin of the trust file is malformed')
  }
  if (typeof vkey !== 'string' || !isLogKey(vkey, origin)) {
    throw new MalformedError('the vkey of the trust file is not that of the origin')
  }
  if (!isTrustDomain(trustDomain)) throw new MalformedError('the trust domain is malformed')
  const statementKey = readMembers(document.statementKey, ['keyId', 'publicKey'] as const)
  const keyId = readBytes(statementKey.keyId)
  if (keyId.length === 0 || keyId.length > 64) throw new MalformedError('the key id is malformed')
  return {
    origin,
    vkey,
    statementKey: { keyId, publicKey: readKey(statementKey.publicKey) },
    trustDomain,
    fabricKey: readKey(document.fabricKey),
  }
}

/**
 * The trust of a trust file, or of the longer document of `GET /v1/trust`, whose other members,
 * such as root certificates, verify no receipt and are ignored. Throws a MalformedError on anything
 * else.
 */
export function parseTrustOfAnyForm(text: string): Trust {
  const limits = { charactersMax: documentCharactersMax, depthMax: 3 }
  const document = parseStrictJson(text, limits)
  if (!isObject(document) || !Object.hasOwn(document, 'bundle')) return parseTrust(text)
  const { v, origin, vkey, statementKey, trustDomain, fabricKey } = document as Readonly<
    Record<string, JsonValue | undefined>
  >
  const publicKey = isObject(fabricKey) ? fabricKey['publicKey'] : undefined
  // The parser of the trust file is the one judge of what both have in common.
  const file = { v, origin, vkey, statementKey, trustDomain, fabricKey: publicKey }
  return parseTrust(JSON.stringify(file))
}

function isObject(value: JsonValue | undefined): value is { readonly [name: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isLogKey(vkey: string, origin: string): boolean {
  const { name, type } = parseVkey(vkey)
  return name === origin && type === noteKeyType.ed25519
}

/** The members of an object that has exactly these. Throws a MalformedError. */
export function readMembers<Name extends string>(
  value: JsonValue | undefined,
  names: readonly Name[],
): Readonly<Record<Name, JsonValue>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MalformedError('an object is missing')
  }
  const object = value as Readonly<Record<Name, JsonValue>>
  if (Object.keys(object).length !== names.length) {
    throw new MalformedError(`an object has other members than ${names.join(', ')}`)
  }
  for (const name of names) {
    if (!Object.hasOwn(object, name)) throw new MalformedError(`the member ${name} is missing`)
  }
  return object
}

export function readBytes(value: JsonValue | undefined): Uint8Array {
  const bytes = typeof value === 'string' ? parseBase64(value) : null
  if (bytes === null) throw new MalformedError('a value is not canonical base64')
  return bytes
}

const noKey = new Uint8Array(32)

function readKey(value: JsonValue): Uint8Array {
  const key = readBytes(value)
  // An unset key must not pass as one: zero bytes are a point of small order.
  if (key.length !== 32 || equalBytes(key, noKey)) throw new MalformedError('a key is malformed')
  return key
}
