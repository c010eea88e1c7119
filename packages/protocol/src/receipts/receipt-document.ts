import { equalBytes, parseUtf8, toBase64, utf8 } from '../encoding/bytes.ts'
import { canonicalJson, type JsonValue } from '../encoding/canonical.ts'
import { type ExchangeId, isExchangeId } from '../encoding/ids.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import { parseStrictJson } from '../encoding/strict-json.ts'
import { type FactValue, factsMax, isFactName, saltBytes } from '../log/leaf.ts'
import { isNoteKeyName } from '../log/note.ts'
import { ReceiptError } from './receipt-error.ts'
import { readStated, type StatedIn, statedJson } from './receipt-statement.ts'
import { readBytes, readMembers } from './trust.ts'

/**
 * A fact with the salt that opens its commitment. Without the salt, a reader cannot test a guess.
 */
export interface DisclosedFact {
  /** 16 bytes. */
  readonly salt: Uint8Array
  readonly value: FactValue
}

export interface ReceiptEntry {
  /** As the tree hashes it. */
  readonly leaf: Uint8Array
  /** C2SP tlog-proof text. */
  readonly proof: string
  readonly facts: Readonly<Record<string, DisclosedFact>>
  /** Null for an entry of the fabric itself. */
  readonly stated: StatedIn | null
}

/**
 * The stages that the checkpoint of a receipt can have reached: `synced`, so that no power loss
 * takes it back, or `published` as well, so that every reader of the log could compare it. No
 * signature covers the word, so that the holder of a receipt can change it: it proves nothing until
 * the checkpoint is compared with the published one.
 */
export const RECEIPT_LEVELS = ['synced', 'published'] as const
export type ReceiptLevel = (typeof RECEIPT_LEVELS)[number]

/**
 * The receipt of one closed exchange: `{"entries":[{"facts":…,"leaf":…,"proof":…}…],
 * "exchange":…,"level":…,"origin":…,"v":2}` in canonical JSON (RFC 8785). Bytes are base64; a fact
 * whose value is a byte string has `{"bytes":"<base64>"}` for it. An entry that a connector stated
 * has the member `stated` as well: `{"index":…,"key":…,"path":[…],"statement":…}`.
 */
export interface Receipt {
  readonly exchange: ExchangeId
  readonly origin: string
  readonly level: ReceiptLevel
  /** An intent with what closed it, or a lone refusal. */
  readonly entries: readonly ReceiptEntry[]
}

const receiptVersion = 2
const entriesMax = 2
/** Two entries with more facts than a request has fit; readers reject a longer receipt. */
export const receiptBytesMax = 1024 * 1024

export function createReceipt(receipt: Receipt): Uint8Array {
  return utf8(canonicalJson(receiptJson(receipt)))
}

/**
 * Throws a ReceiptError unless `bytes` are exactly what `createReceipt` writes for what they hold.
 * Nothing is verified by parsing.
 */
export function parseReceipt(bytes: Uint8Array): Receipt {
  if (bytes.length > receiptBytesMax) throw new ReceiptError('RECEIPT_MALFORMED', 'it is too long')
  let receipt: Receipt
  try {
    receipt = readReceipt(parseStrictJson(parseUtf8(bytes), { depthMax: 8 }))
  } catch (error) {
    const known = error instanceof MalformedError || error instanceof TypeError
    throw known ? new ReceiptError('RECEIPT_MALFORMED', error.message) : error
  }
  // One document, one file: whatever a reader ignored would be a bit that anyone may change.
  if (!equalBytes(createReceipt(receipt), bytes)) throw new ReceiptError('RECEIPT_NOT_CANONICAL')
  return receipt
}

function receiptJson(receipt: Receipt): JsonValue {
  return {
    v: receiptVersion,
    exchange: receipt.exchange,
    origin: receipt.origin,
    level: receipt.level,
    entries: receipt.entries.map((entry) => ({
      leaf: toBase64(entry.leaf),
      proof: entry.proof,
      facts: Object.fromEntries(
        Object.entries(entry.facts).map(([name, fact]) => [name, factJson(name, fact)]),
      ),
      ...(entry.stated === null ? {} : { stated: statedJson(entry.stated) }),
    })),
  }
}

function factJson(name: string, { salt, value }: DisclosedFact): JsonValue {
  if (!isFactName(name) || salt.length !== saltBytes) throw new TypeError('not a disclosed fact')
  return {
    salt: toBase64(salt),
    value: value instanceof Uint8Array ? { bytes: toBase64(value) } : value,
  }
}

function readReceipt(document: JsonValue): Receipt {
  assertVersion(document)
  const names = ['v', 'exchange', 'level', 'origin', 'entries'] as const
  const { exchange, origin, entries, ...rest } = readMembers(document, names)
  if (!isExchangeId(exchange)) throw new MalformedError('the exchange is not an exchange id')
  if (typeof origin !== 'string' || !isNoteKeyName(origin)) {
    throw new MalformedError('the origin is malformed')
  }
  const level = RECEIPT_LEVELS.find((each) => each === rest.level)
  if (level === undefined) throw new MalformedError('the level is neither synced nor published')
  if (!isList(entries) || entries.length === 0 || entries.length > entriesMax) {
    throw new MalformedError('the receipt has no entries, or too many')
  }
  return { exchange, origin, level, entries: entries.map(readEntry) }
}

/** First: a receipt of another version has other members as well. */
function assertVersion(document: JsonValue): void {
  const isObject = typeof document === 'object' && document !== null && 'v' in document
  const version = isObject ? document['v'] : undefined
  if (typeof version !== 'number') throw new MalformedError('the version is not a number')
  if (version === receiptVersion) return
  throw new ReceiptError(
    'RECEIPT_VERSION_UNKNOWN',
    `it has version ${version}, and this program verifies version ${receiptVersion}: verify it with the version of Countersign that made it`,
  )
}

function readEntry(value: JsonValue): ReceiptEntry {
  const members = ['leaf', 'proof', 'facts'] as const
  const isStated = typeof value === 'object' && value !== null && Object.hasOwn(value, 'stated')
  const entry = isStated
    ? readMembers(value, [...members, 'stated'] as const)
    : { ...readMembers(value, members), stated: null }
  const { leaf, proof, facts, stated } = entry
  if (typeof proof !== 'string') throw new MalformedError('the proof is not text')
  if (typeof facts !== 'object' || facts === null || Array.isArray(facts)) {
    throw new MalformedError('the facts are not an object')
  }
  const names = Object.keys(facts)
  if (names.length > factsMax) throw new MalformedError('there are too many facts')
  const disclosed: Record<string, DisclosedFact> = {}
  for (const [name, fact] of Object.entries(facts)) {
    if (!isFactName(name)) throw new MalformedError('a fact name is malformed')
    disclosed[name] = readFact(fact)
  }
  return {
    ...{ leaf: readBytes(leaf), proof, facts: disclosed },
    stated: isStated ? readStated(stated) : null,
  }
}

function readFact(fact: JsonValue): DisclosedFact {
  const { salt: saltText, value } = readMembers(fact, ['salt', 'value'] as const)
  const salt = readBytes(saltText)
  if (salt.length !== saltBytes) throw new MalformedError(`a salt is not ${saltBytes} bytes`)
  if (typeof value === 'string' || typeof value === 'boolean') return { salt, value }
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw new MalformedError('a fact is not a safe integer')
    return { salt, value }
  }
  return { salt, value: readBytes(readMembers(value, ['bytes'] as const).bytes) }
}

function isList(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value)
}
