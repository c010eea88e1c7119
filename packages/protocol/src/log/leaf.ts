import { concat } from '../encoding/bytes.ts'
import { decodeCbor } from '../encoding/cbor.ts'
import { CborWriter } from '../encoding/cbor-writer.ts'
import { MalformedError } from '../encoding/malformed-error.ts'

/** The kinds of entry that a ledger holds. */
export const ENTRY_KINDS = [
  'genesis',
  'intent',
  'outcome',
  'refusal',
  'indeterminate',
  'lifecycle',
  'erasure',
  'batch',
] as const
export type EntryKind = (typeof ENTRY_KINDS)[number]

/** Byte strings, text, safe integers and flags; the commitment covers the type as well. */
export type FactValue = string | number | boolean | Uint8Array

/**
 * One entry as the tree hashes it: no fact in clear, only a commitment to each. It has no
 * signature: the signed checkpoint over the tree proves who recorded it, and in which order.
 */
export interface Leaf {
  /** The exchange that the entry belongs to. */
  readonly exchange: string
  readonly kind: EntryKind
  /** Unix milliseconds. */
  readonly at: number
  /** SHA-256 over `commitmentInput`, by the name of the fact; 1 to `factsMax`. */
  readonly facts: ReadonlyMap<string, Uint8Array>
}

/** The first item of a leaf, and the version of everything that the ledger keeps of an entry. */
export const leafVersion = 2
/** 64 commitments of at most 100 bytes and the rest of a leaf; a bundle takes 65,535 bytes. */
export const leafBytesMax = 8_192
export const factsMax = 64
/**
 * A signature base with every header of a request that a server accepts (16 KiB) fits four times.
 */
export const factBytesMax = 65_536
/** Random and secret: neither a commitment nor a whole leaf can be guessed from its hash. */
export const saltBytes = 16
/** Keeps a commitment apart from the leaves (0x00) and nodes (0x01) of the tree. */
export const commitmentPrefix = 0x02

const hashBytes = 32
const leafItems = 5
const factName = /^[a-z][a-z0-9.-]{0,63}$/
const exchangeText = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/

/** A producer writes a few dozen names, three times in every entry. */
const knownNamesMax = 256
const knownNames = new Set<unknown>()

export function isFactName(value: unknown): value is string {
  if (knownNames.has(value)) return true
  if (typeof value !== 'string' || !factName.test(value)) return false
  if (knownNames.size < knownNamesMax) knownNames.add(value)
  return true
}

export function isEntryKind(value: unknown): value is EntryKind {
  return (ENTRY_KINDS as readonly unknown[]).includes(value)
}

/** Reports whether `value` can be the exchange of a leaf. */
export function isLeafExchange(value: unknown): value is string {
  return typeof value === 'string' && exchangeText.test(value)
}

/**
 * Returns the encoded fact of a commitment: the deterministic CBOR array `[name, value]`. The
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

/** Returns the bytes whose SHA-256 is the commitment to `fact`, an `encodeFact`. */
export function commitmentInput(salt: Uint8Array, fact: Uint8Array): Uint8Array {
  if (salt.length !== saltBytes) throw new TypeError(`a salt is ${saltBytes} bytes`)
  return concat(Uint8Array.of(commitmentPrefix), salt, fact)
}

/** `[2, id, kind, ts, { name: commitment, … }]` in deterministic CBOR (RFC 8949, 4.2.1). */
export function encodeLeaf(leaf: Leaf): Uint8Array {
  const fault = leafFault(leaf)
  if (fault !== null) throw new TypeError(fault)
  const writer = new CborWriter(1024)
  writer.head(4, leafItems)
  writer.integer(leafVersion)
  writer.text(leaf.exchange)
  writer.text(leaf.kind)
  writer.integer(leaf.at)
  writer.head(5, leaf.facts.size)
  for (const [name, commitment] of [...leaf.facts].sort(([a], [b]) => byEncodedName(a, b))) {
    writer.text(name)
    writer.byteString(commitment)
  }
  return writer.finish()
}

/** Throws a MalformedError on everything that `encodeLeaf` would not have written. */
export function parseLeaf(bytes: Uint8Array): Leaf {
  const items = decodeCbor(bytes, { bytesMax: leafBytesMax, depthMax: 2 })
  if (!Array.isArray(items) || items.length !== leafItems) {
    throw new MalformedError('the leaf is not an array of five items')
  }
  const [version, exchange, kind, at, facts]: readonly unknown[] = items
  if (version !== leafVersion) throw new MalformedError('the version of the leaf is unknown')
  const leaf = { exchange, kind, at, facts }
  const fault = leafFault(leaf)
  if (fault !== null) throw new MalformedError(fault)
  return leaf as Leaf
}

/** One list of demands for writing and for reading. */
function leafFault({ exchange, kind, at, facts }: Readonly<Record<keyof Leaf, unknown>>) {
  if (!isLeafExchange(exchange)) return 'the exchange id is malformed'
  if (!isEntryKind(kind)) return 'the kind is unknown'
  if (!Number.isSafeInteger(at) || (at as number) < 0) return 'the time is not in milliseconds'
  if (!(facts instanceof Map)) return 'the facts are not a map'
  if (facts.size === 0 || facts.size > factsMax) return `a leaf has 1 to ${factsMax} facts`
  for (const [name, commitment] of facts as ReadonlyMap<unknown, unknown>) {
    if (!isFactName(name)) return 'a fact name is malformed'
    if (!(commitment instanceof Uint8Array) || commitment.length !== hashBytes) {
      return 'a commitment is not 32 bytes'
    }
  }
  return null
}

/** Shorter first, then by character: what bytewise order of encoded ASCII names comes to. */
export function byEncodedName(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length
  return a < b ? -1 : 1
}
