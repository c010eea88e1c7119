import { equalBytes, parseBase64, toBase64, utf8 } from '../encoding/bytes.ts'
import { canonicalJson, type JsonValue } from '../encoding/canonical.ts'
import { isSlotName, isTrustDomain } from '../encoding/ids.ts'
import { FormerFormatError, MalformedError } from '../encoding/malformed-error.ts'
import { parseStrictJson } from '../encoding/strict-json.ts'
import { isNoteKeyName, noteKeyType, parseVkey } from '../log/note.ts'
import { sha256, verifyEd25519 } from '../signatures/web-crypto.ts'

/** The log of one slot: its name and the key that verifies its checkpoints, and so its entries. */
export interface SlotTrust {
  /** As exchange ids name it. */
  readonly slot: string
  /** `logOrigin` of the trust domain and the slot: the log's name, and that of its key. */
  readonly origin: string
  /** The log's key, a C2SP vkey of type Ed25519. */
  readonly vkey: string
  /** Ed25519 by `slotKey` over `slotCertificate`. */
  readonly signature: Uint8Array
}

/** The values that an auditor pins, once, out of band: all that a receipt is verified against. */
export interface Trust {
  readonly trustDomain: string
  /** Raw Ed25519 public key with which the fabric signs messages in place of a party. */
  readonly fabricKey: Uint8Array
  /** Raw Ed25519 public key that certifies the logs of the fabric, also those of later slots. */
  readonly slotKey: Uint8Array
  /** By slot. Each is worth what its signature is, which `verifyReceipt` checks. */
  readonly slots: readonly SlotTrust[]
}

/** A slot is about half a kilobyte, and a root certificate of the longer document as much. */
const trustCharactersMax = 65_536
const documentCharactersMax = 262_144
/** Of the trust file, and of the document of `GET /v1/trust`. */
export const TRUST_VERSION = 3
/** Logs of a fabric, those of slots that are no longer used included. */
export const trustSlotsMax = 64

export function formatTrust(trust: Trust): string {
  const { trustDomain, fabricKey, slotKey, slots } = trust
  const file = {
    v: TRUST_VERSION,
    trustDomain,
    fabricKey: toBase64(fabricKey),
    slotKey: toBase64(slotKey),
    slots: slots.map(slotJson),
  }
  return `${JSON.stringify(file, null, 2)}\n`
}

/**
 * Returns the fingerprint that two people compare out of band: SHA-256 over the trust domain and
 * the two keys as canonical JSON (RFC 8785). The logs are not in it. Each is certified by
 * `slotKey`, so that a replica can be added without a new fingerprint, and a foreign log cannot.
 * Written as OpenSSH writes the fingerprint of a key: `SHA256:` and unpadded base64.
 */
export async function trustFingerprint(
  trust: Pick<Trust, 'trustDomain' | 'fabricKey' | 'slotKey'>,
): Promise<string> {
  const pinned = {
    v: TRUST_VERSION,
    trustDomain: trust.trustDomain,
    fabricKey: toBase64(trust.fabricKey),
    slotKey: toBase64(trust.slotKey),
  }
  const digest = await sha256(utf8(canonicalJson(pinned)))
  return `SHA256:${toBase64(digest).replaceAll('=', '')}`
}

/** Returns the name of the log of a slot. It names the fabric of every entry in that log. */
export function logOrigin(trustDomain: string, slot: string): string {
  return `${trustDomain}/ledger/${slot}`
}

/** The bytes by whose signature a log is one of the fabric's. */
export function slotCertificate(
  trustDomain: string,
  { slot, origin, vkey }: Omit<SlotTrust, 'signature'>,
): Uint8Array {
  return utf8(`countersign-log-slot-v2\n${canonicalJson({ trustDomain, slot, origin, vkey })}`)
}

/**
 * Reports whether `slotKey` certifies the log, under the one name that it can have: nothing else
 * names the fabric whose entries it holds.
 */
export async function isCertifiedLog(
  { trustDomain, slotKey }: Pick<Trust, 'trustDomain' | 'slotKey'>,
  log: SlotTrust,
): Promise<boolean> {
  if (log.origin !== logOrigin(trustDomain, log.slot)) return false
  return verifyEd25519(slotKey, log.signature, slotCertificate(trustDomain, log))
}

/** The members of a slot in a trust file, and in the document of `GET /v1/trust`. */
export function slotJson({ slot, origin, vkey, signature }: SlotTrust) {
  return { slot, origin, vkey, signature: toBase64(signature) }
}

/**
 * Throws a MalformedError on an unknown or missing member and on keys that are none, and a
 * FormerFormatError on a file of an earlier version.
 */
export function parseTrust(text: string): Trust {
  const limits = { charactersMax: trustCharactersMax, depthMax: 4 }
  const names = ['v', 'trustDomain', 'fabricKey', 'slotKey', 'slots'] as const
  const file = parseStrictJson(text, limits)
  // First: a file of another version has other members as well.
  if (isObject(file) && Object.hasOwn(file, 'v')) assertVersion(file['v'])
  const document = readMembers(file, names)
  const { trustDomain, slots } = document
  if (!isTrustDomain(trustDomain)) throw new MalformedError('the trust domain is malformed')
  if (!Array.isArray(slots) || slots.length === 0 || slots.length > trustSlotsMax) {
    throw new MalformedError(`a trust file has 1 to ${trustSlotsMax} slots`)
  }
  const parsed = slots.map((slot: JsonValue) => parseSlot(slot))
  for (const name of ['slot', 'origin'] as const) {
    const distinct = new Set(parsed.map((slot) => slot[name]))
    if (distinct.size !== parsed.length) throw new MalformedError(`two slots have the same ${name}`)
  }
  return {
    trustDomain,
    fabricKey: readKey(document.fabricKey),
    slotKey: readKey(document.slotKey),
    slots: parsed,
  }
}

/** One member of `slots`. Throws a MalformedError; does not check the signature. */
export function parseSlot(value: JsonValue): SlotTrust {
  const names = ['slot', 'origin', 'vkey', 'signature'] as const
  const { slot, origin, vkey, signature: signed } = readMembers(value, names)
  if (!isSlotName(slot)) throw new MalformedError('the name of a slot is malformed')
  if (typeof origin !== 'string' || !isNoteKeyName(origin)) {
    throw new MalformedError('the origin of a slot is malformed')
  }
  if (typeof vkey !== 'string' || !isLogKey(vkey, origin)) {
    throw new MalformedError('the vkey of a slot is not that of the origin')
  }
  const signature = readBytes(signed)
  if (signature.length !== 64) throw new MalformedError('the signature of a slot is malformed')
  return { slot, origin, vkey, signature }
}

function assertVersion(version: JsonValue | undefined): void {
  if (version === TRUST_VERSION) return
  if (typeof version !== 'number' || !(version < TRUST_VERSION)) {
    throw new MalformedError('the trust file has an unknown version')
  }
  throw new FormerFormatError(
    `the trust file has version ${version}, and this program reads version ${TRUST_VERSION}: take it from the fabric again and compare its fingerprint, or use the version of Countersign that wrote it`,
  )
}

/**
 * The trust of a trust file, or of the longer document of `GET /v1/trust`, whose other members,
 * such as root certificates, verify no receipt and are ignored. Throws a MalformedError on anything
 * else.
 */
export function parseTrustOfAnyForm(text: string): Trust {
  const limits = { charactersMax: documentCharactersMax, depthMax: 4 }
  const document = parseStrictJson(text, limits)
  if (!isObject(document) || !Object.hasOwn(document, 'bundle')) return parseTrust(text)
  const { v, trustDomain, fabricKey, slotKey, slots } = document as Readonly<
    Record<string, JsonValue | undefined>
  >
  const publicKey = isObject(fabricKey) ? fabricKey['publicKey'] : undefined
  // The parser of the trust file is the one judge of what both have in common.
  return parseTrust(JSON.stringify({ v, trustDomain, fabricKey: publicKey, slotKey, slots }))
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
