import { type CborValue, decodeCbor } from '../encoding/cbor.ts'
import { CborWriter } from '../encoding/cbor-writer.ts'
import { MalformedError } from '../encoding/malformed-error.ts'

/** The kinds of statement a ledger holds. */
export const STATEMENT_KINDS = [
  'genesis',
  'intent',
  'outcome',
  'refusal',
  'indeterminate',
  'lifecycle',
] as const
export type StatementKind = (typeof STATEMENT_KINDS)[number]

/** Byte strings, text, safe integers and flags; the commitment covers the type as well. */
export type FactValue = string | number | boolean | Uint8Array

/** The content of a leaf: no fact in clear, only a commitment to each. */
export interface EntryPayload {
  /** The exchange that the entry belongs to. */
  readonly exchange: string
  readonly kind: StatementKind
  /** Unix milliseconds. */
  readonly at: number
  /** The producer's own counter, without gaps, so that an omitted statement shows. */
  readonly n: number
  /** RFC 6962 leaf hash of the producer's statement before this one, or `noPreviousLeaf`. */
  readonly prev: Uint8Array
  /** HMAC-SHA-256 with a 32-byte random salt as key over `encodeFact(name, value)`. */
  readonly facts: ReadonlyMap<string, Uint8Array>
  /** 32 random bytes: a leaf cannot be guessed from its published hash. */
  readonly nonce: Uint8Array
}

export const statementContentType = 'application/vnd.countersign.entry+cbor'

/** The value of `prev` in a producer's first statement. */
export const noPreviousLeaf: Uint8Array = new Uint8Array(32)

/** 64 commitments of at most 102 bytes leave a statement far below the 65,535 of a bundle. */
export const factsMax = 64
/**
 * A signature base with every header of a request that a server accepts (16 KiB) fits four times.
 */
export const factBytesMax = 65_536
export const saltBytes = 32

const hashBytes = 32
const payloadVersion = 1
const factName = /^[a-z][a-z0-9.-]{0,63}$/
const exchangeText = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/

// The members of the payload map in the order of RFC 8949, section 4.2.1, as encoded text.
const key = {
  n: encodedText('n'),
  version: encodedText('v'),
  exchange: encodedText('id'),
  at: encodedText('ts'),
  kind: encodedText('kind'),
  prev: encodedText('prev'),
  facts: encodedText('facts'),
  nonce: encodedText('nonce'),
} as const
const membersCount = 8

/** A producer writes a few dozen names, three times in every entry. */
const knownNamesMax = 256
const knownNames = new Set<unknown>()

export function isFactName(value: unknown): value is string {
  if (knownNames.has(value)) return true
  if (typeof value !== 'string' || !factName.test(value)) return false
  if (knownNames.size < knownNamesMax) knownNames.add(value)
  return true
}

export function isStatementKind(value: unknown): value is StatementKind {
  return (STATEMENT_KINDS as readonly unknown[]).includes(value)
}

/**
 * Returns the bytes that a commitment covers: the deterministic CBOR array `[name, value]`. The
 * committing party keeps it within `factBytesMax`; a verifier refuses a longer one.
 */
export function encodeFact(name: string, value: FactValue): Uint8Array {
  if (!isFactName(name)) throw new TypeError('not a fact name')
  const writer = new CborWriter(128)
  writer.head(4, 2)
  writer.text(name)
  if (typeof value === 'string') writer.text(value)
  else if (typeof value === 'number') writer.integer(value)
  else if (typeof value === 'boolean') writer.head(7, value ? 21 : 20)
  else writer.byteString(value)
  return writer.finish()
}

export function encodeEntryPayload(payload: EntryPayload): Uint8Array {
  assertPayload(payload)
  const names = [...payload.facts.keys()].sort(byEncodedName)
  const writer = reused
  writer.reset()
  writer.head(5, membersCount)
  writer.raw(key.n)
  writer.integer(payload.n)
  writer.raw(key.version)
  writer.integer(payloadVersion)
  writer.raw(key.exchange)
  writer.text(payload.exchange)
  writer.raw(key.at)
  writer.integer(payload.at)
  writer.raw(key.kind)
  writer.text(payload.kind)
  writer.raw(key.prev)
  writer.byteString(payload.prev)
  writer.raw(key.facts)
  writer.head(5, names.length)
  for (const name of names) {
    writer.text(name)
    writer.byteString(payload.facts.get(name) ?? noPreviousLeaf)
  }
  writer.raw(key.nonce)
  writer.byteString(payload.nonce)
  return writer.finish()
}

/** Throws a MalformedError on everything that `encodeEntryPayload` would not have written. */
export function parseEntryPayload(bytes: Uint8Array): EntryPayload {
  const map = decodeCbor(bytes, { depthMax: 2 })
  if (!(map instanceof Map) || map.size !== membersCount) {
    throw new MalformedError('the payload is not a map of eight members')
  }
  if (map.get('v') !== payloadVersion) throw new MalformedError('the payload version is unknown')
  const facts: unknown = map.get('facts')
  if (!(facts instanceof Map)) throw new MalformedError('the facts are not a map')
  const payload = {
    exchange: map.get('id'),
    kind: map.get('kind'),
    at: map.get('ts'),
    n: map.get('n'),
    prev: map.get('prev'),
    facts,
    nonce: map.get('nonce'),
  }
  const fault = payloadFault(payload)
  if (fault !== null) throw new MalformedError(fault)
  return payload
}

type Unchecked<T> = { readonly [Member in keyof T]: CborValue | undefined }

/** One list of demands for writing and for reading. */
function payloadFault(payload: Unchecked<Omit<EntryPayload, 'facts'>> & { facts: Facts }) {
  if (typeof payload.exchange !== 'string' || !exchangeText.test(payload.exchange)) {
    return 'the exchange id is malformed'
  }
  if (!isStatementKind(payload.kind)) return 'the kind is unknown'
  if (!isCount(payload.at)) return 'the time is not in milliseconds'
  if (!isCount(payload.n)) return 'the counter is not a count'
  if (!isBytes32(payload.prev)) return 'the previous leaf is not a hash'
  if (!isBytes32(payload.nonce)) return 'the nonce is not 32 bytes'
  if (payload.facts.size > factsMax) return 'there are too many facts'
  for (const [name, commitment] of payload.facts) {
    if (!isFactName(name)) return 'a fact name is malformed'
    if (!isBytes32(commitment)) return 'a commitment is not 32 bytes'
  }
  return null
}

type Facts = ReadonlyMap<unknown, unknown>

function assertPayload(payload: EntryPayload): void {
  const fault = payloadFault(payload)
  if (fault !== null) throw new TypeError(fault)
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isBytes32(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === hashBytes
}

/** Shorter first, then by character: what bytewise order of encoded ASCII names comes to. */
function byEncodedName(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length
  return a < b ? -1 : 1
}

/**
 * Grows to the largest payload, a few kilobytes: a new one for each entry would be freed by a
 * thread.
 */
const reused = new CborWriter(4096)

function encodedText(text: string): Uint8Array {
  const writer = new CborWriter(16)
  writer.text(text)
  return writer.finish()
}
