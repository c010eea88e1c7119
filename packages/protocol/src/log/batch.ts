import { utf8 } from '../encoding/bytes.ts'
import { CborTag, type CborValue, decodeCbor, encodeCbor } from '../encoding/cbor.ts'
import { parseSpiffeId } from '../encoding/ids.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import { leafVersion } from './leaf.ts'
import { isNoteKeyName } from './note.ts'

/**
 * The statement of a connector: these entries, in this order, are mine. It names its log, so that
 * it states nothing in another one.
 */
export interface BatchStatement {
  /** The name of the log, `logOrigin` of the protocol. */
  readonly origin: string
  /** SPIFFE ID of the agent whose connector states the entries. */
  readonly producer: string
  /** 16 random bytes: a connector process starts a chain of its own in each log. */
  readonly chain: Uint8Array
  /** Counts the batches of the chain, from 0 and without gaps. */
  readonly n: number
  /**
   * SHA-256 of the encoded statement before this one. That of a first batch is of the last one of
   * another chain for which the connector process has an answer, or zeros.
   */
  readonly prev: Uint8Array
  /** Entries of the batch, 1 to `batchEntriesMax`. */
  readonly size: number
  /** RFC 6962 root over their leaves. */
  readonly root: Uint8Array
  /** Unix milliseconds by the clock of the connector. */
  readonly at: number
}

/** A statement with its signature, which `parseBatch` has not verified. */
export interface SignedBatch {
  readonly statement: BatchStatement
  /** RFC 7638 thumbprint of the key. */
  readonly keyId: string
  /** The Sig_structure of RFC 9052, section 4.4, which `signature` is over. */
  readonly signed: Uint8Array
  /** Ed25519, 64 bytes. */
  readonly signature: Uint8Array
}

export const batchEntriesMax = 256
export const batchContentType = 'application/vnd.countersign.batch+cbor'
export const chainBytes = 16
/** A statement with the longest names that it can have is about 3 KB. */
export const batchBytesMax = 4_096

const hashBytes = 32
const signatureBytes = 64
const keyIdText = /^[A-Za-z0-9_-]{43}$/
const originLengthMax = 512
const producerLengthMax = 2_048
const items = 9

// RFC 9052, section 3.1, and RFC 9053, section 2.2.
const header = { alg: 1, contentType: 3, kid: 4 } as const
const edDsa = -8
const sign1Tag = 18

/** Of a batch that no other one was answered before. */
export const noBatchBefore: Uint8Array = new Uint8Array(hashBytes)

/** The bytes that the key of `keyId` signs, and the encoded statement made of its signature. */
export interface BatchDraft {
  readonly signed: Uint8Array
  encode(signature: Uint8Array): Uint8Array
}

/**
 * `COSE_Sign1` (RFC 9052, section 4.2) over `[2, origin, producer, chain, n, prev, size, root, ts]`
 * in deterministic CBOR. Throws a TypeError on a statement that could not be read.
 */
export function draftBatch(statement: BatchStatement, keyId: string): BatchDraft {
  const fault = statementFault(statement) ?? keyFault(keyId)
  if (fault !== null) throw new TypeError(fault)
  const { origin, producer, chain, n, prev, size, root, at } = statement
  const content = encodeCbor([leafVersion, origin, producer, chain, n, prev, size, root, at])
  const protectedHeader = encodeHeader(keyId)
  return {
    signed: sigStructure(protectedHeader, content),
    encode(signature) {
      if (signature.length !== signatureBytes) throw new TypeError('a signature is 64 bytes')
      return encodeCbor(new CborTag(sign1Tag, [protectedHeader, new Map(), content, signature]))
    },
  }
}

/**
 * Throws a MalformedError on everything that `draftBatch` does not encode. Does not verify the
 * signature.
 */
export function parseBatch(bytes: Uint8Array): SignedBatch {
  const tagged = decodeCbor(bytes, { bytesMax: batchBytesMax, depthMax: 3 })
  const parts = tagged instanceof CborTag && tagged.tag === sign1Tag ? tagged.value : null
  if (!Array.isArray(parts) || parts.length !== 4) {
    throw new MalformedError('the statement is not a COSE_Sign1')
  }
  const [head, unprotected, content, signature]: readonly unknown[] = parts
  if (!(head instanceof Uint8Array) || !(content instanceof Uint8Array)) {
    throw new MalformedError('the statement has no content')
  }
  if (!(unprotected instanceof Map) || unprotected.size > 0) {
    throw new MalformedError('the statement has an unprotected header')
  }
  if (!isBytes(signature, signatureBytes)) throw new MalformedError('a signature is 64 bytes')
  return {
    statement: parseStatement(content),
    keyId: parseHeader(head),
    signed: sigStructure(head, content),
    signature,
  }
}

function encodeHeader(keyId: string): Uint8Array {
  return encodeCbor(
    new Map<number, CborValue>([
      [header.alg, edDsa],
      [header.contentType, batchContentType],
      [header.kid, utf8(keyId)],
    ]),
  )
}

function parseHeader(bytes: Uint8Array): string {
  const map = decodeCbor(bytes, { depthMax: 1 })
  const kid = map instanceof Map && map.size === 3 ? map.get(header.kid) : null
  if (!(map instanceof Map) || !(kid instanceof Uint8Array)) {
    throw new MalformedError('the header of the statement has other members')
  }
  if (map.get(header.alg) !== edDsa || map.get(header.contentType) !== batchContentType) {
    throw new MalformedError('the statement is of another kind')
  }
  const keyId = String.fromCharCode(...kid)
  const fault = keyFault(keyId)
  if (fault !== null) throw new MalformedError(fault)
  return keyId
}

function parseStatement(bytes: Uint8Array): BatchStatement {
  const content = decodeCbor(bytes, { depthMax: 1 })
  if (!Array.isArray(content) || content.length !== items) {
    throw new MalformedError(`the content of the statement is not an array of ${items} items`)
  }
  const [version, origin, producer, chain, n, prev, size, root, at]: readonly unknown[] = content
  if (version !== leafVersion) throw new MalformedError('the version of the statement is unknown')
  const statement = { origin, producer, chain, n, prev, size, root, at }
  const fault = statementFault(statement)
  if (fault !== null) throw new MalformedError(fault)
  return statement as BatchStatement
}

/** One list of demands for writing and for reading. */
function statementFault(statement: Readonly<Record<keyof BatchStatement, unknown>>) {
  const { origin, producer, chain, n, prev, size, root, at } = statement
  if (typeof origin !== 'string' || origin.length > originLengthMax || !isNoteKeyName(origin)) {
    return 'the origin is malformed'
  }
  const isShort = typeof producer === 'string' && producer.length <= producerLengthMax
  const id = isShort ? parseSpiffeId(producer) : null
  if (id === null || id.kind !== 'agent' || id.instance !== null) return 'the producer is malformed'
  if (!isBytes(chain, chainBytes)) return `a chain is ${chainBytes} bytes`
  if (!isCount(n)) return 'the number of the batch is not a count'
  if (!isBytes(prev, hashBytes)) return 'the statement before is not a hash'
  if (!isCount(size) || size === 0 || size > batchEntriesMax) {
    return `a batch has 1 to ${batchEntriesMax} entries`
  }
  if (!isBytes(root, hashBytes)) return 'the root is not a hash'
  return isCount(at) ? null : 'the time is not in milliseconds'
}

function keyFault(keyId: string): string | null {
  return keyIdText.test(keyId) ? null : 'the id of the key is not a thumbprint'
}

function sigStructure(protectedHeader: Uint8Array, content: Uint8Array): Uint8Array {
  return encodeCbor(['Signature1', protectedHeader, new Uint8Array(0), content])
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isBytes(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length
}
