import { CborTag, type CborValue, decodeCbor } from '../encoding/cbor.ts'
import { CborWriter, headLength } from '../encoding/cbor-writer.ts'
import { MalformedError } from '../encoding/malformed-error.ts'

/** The constant part of one producer's statements: a COSE header (RFC 9052, 3.1; RFC 9597). */
export interface StatementHeader {
  readonly keyId: Uint8Array
  readonly issuer: string
  readonly subject: string
  readonly contentType: string
}

export interface StatementDraft extends StatementHeader {
  readonly payload: Uint8Array
}

/** A parsed signed statement (RFC 9943). Its signature is not checked by parsing. */
export interface Statement extends StatementDraft {
  readonly signature: Uint8Array
  /** The encoded protected header, as it was signed. */
  readonly protectedHeader: Uint8Array
}

/** Ed25519 over the bytes given; 64 bytes. */
export type SignStatement = (toBeSigned: Uint8Array) => Uint8Array

/** An entry bundle gives each entry a 16-bit length (C2SP tlog-tiles). */
export const statementBytesMax = 65_535

const coseSign1Tag = 18
const algorithmEdDsa = -8
const label = { algorithm: 1, contentType: 3, keyId: 4, cwtClaims: 15 } as const
const claim = { issuer: 1, subject: 2 } as const
const headerTextMax = 1024
const signatureBytes = 64

const noBytes = new Uint8Array(0)

export function createStatement(draft: StatementDraft, sign: SignStatement): Uint8Array {
  return prepareStatement(draft)(draft.payload, sign)
}

/** Encodes the header once; the function it gives costs two copies and the signature. */
export function prepareStatement(
  header: StatementHeader,
): (payload: Uint8Array, sign: SignStatement) => Uint8Array {
  const protectedHeader = encodeProtectedHeader(header)
  const signedPrefix = toBeSignedPrefix(protectedHeader)
  const prefix = new CborWriter()
  prefix.head(6, coseSign1Tag)
  prefix.head(4, 4)
  prefix.byteString(protectedHeader)
  prefix.head(5, 0)
  const statementPrefix = prefix.finish()
  return (payload, sign) => {
    const signature = sign(append(signedPrefix, payload, noBytes))
    if (signature.length !== signatureBytes) throw new TypeError('an Ed25519 signature is 64 bytes')
    const statement = append(statementPrefix, payload, signature)
    if (statement.length > statementBytesMax) throw new RangeError('the statement is too large')
    return statement
  }
}

/** The Sig_structure of RFC 9052, section 4.4, with no external data. */
export function statementToBeSigned(statement: Statement): Uint8Array {
  return append(toBeSignedPrefix(statement.protectedHeader), statement.payload, noBytes)
}

/** Throws a MalformedError on everything but the one encoding that `createStatement` writes. */
export function parseStatement(bytes: Uint8Array): Statement {
  const item = decodeCbor(bytes, { bytesMax: statementBytesMax, depthMax: 3 })
  if (!(item instanceof CborTag) || item.tag !== coseSign1Tag || !isArray(item.value)) {
    throw new MalformedError('the statement is not a COSE_Sign1')
  }
  const [protectedHeader, unprotected, payload, signature] = item.value
  if (item.value.length !== 4 || !(protectedHeader instanceof Uint8Array)) {
    throw new MalformedError('the statement is not a COSE_Sign1')
  }
  // A statement with an unprotected member has many encodings under one signature, and so many leaf
  // hashes: any relay could log it twice.
  if (!(unprotected instanceof Map) || unprotected.size !== 0) {
    throw new MalformedError('the unprotected header of a statement is empty')
  }
  if (!(payload instanceof Uint8Array)) throw new MalformedError('the payload is not attached')
  if (!(signature instanceof Uint8Array) || signature.length !== signatureBytes) {
    throw new MalformedError('an Ed25519 signature is 64 bytes')
  }
  return { ...parseProtectedHeader(protectedHeader), protectedHeader, payload, signature }
}

function parseProtectedHeader(bytes: Uint8Array): StatementHeader {
  const header = decodeCbor(bytes, { depthMax: 2 })
  if (!isMap(header) || header.size !== 4 || header.get(label.algorithm) !== algorithmEdDsa) {
    throw new MalformedError('the protected header is not that of a statement')
  }
  const claims = header.get(label.cwtClaims)
  const keyId = header.get(label.keyId)
  if (!isMap(claims) || claims.size !== 2 || !(keyId instanceof Uint8Array) || keyId.length === 0) {
    throw new MalformedError('the protected header is not that of a statement')
  }
  return {
    keyId,
    issuer: headerText(claims.get(claim.issuer)),
    subject: headerText(claims.get(claim.subject)),
    contentType: headerText(header.get(label.contentType)),
  }
}

function headerText(value: CborValue | undefined): string {
  if (typeof value !== 'string' || value.length === 0 || value.length > headerTextMax) {
    throw new MalformedError('a text of the protected header is missing or out of bounds')
  }
  return value
}

function encodeProtectedHeader(header: StatementHeader): Uint8Array {
  if (header.keyId.length === 0) throw new TypeError('a statement names its key')
  for (const text of [header.issuer, header.subject, header.contentType]) {
    if (text.length === 0 || text.length > headerTextMax) {
      throw new TypeError('a text of the protected header is missing or out of bounds')
    }
  }
  const writer = new CborWriter()
  writer.head(5, 4)
  writer.integer(label.algorithm)
  writer.integer(algorithmEdDsa)
  writer.integer(label.contentType)
  writer.text(header.contentType)
  writer.integer(label.keyId)
  writer.byteString(header.keyId)
  writer.integer(label.cwtClaims)
  writer.head(5, 2)
  writer.integer(claim.issuer)
  writer.text(header.issuer)
  writer.integer(claim.subject)
  writer.text(header.subject)
  return writer.finish()
}

function toBeSignedPrefix(protectedHeader: Uint8Array): Uint8Array {
  const writer = new CborWriter()
  writer.head(4, 4)
  writer.text('Signature1')
  writer.byteString(protectedHeader)
  writer.byteString(noBytes)
  return writer.finish()
}

const heads = new CborWriter(16)

/** `prefix`, the payload as a byte string, and the signature as one unless it is empty. */
function append(prefix: Uint8Array, payload: Uint8Array, signature: Uint8Array): Uint8Array {
  const tail = signature.length === 0 ? 0 : 2 + signature.length
  const start = prefix.length + headLength(payload.length)
  const whole = new Uint8Array(start + payload.length + tail)
  whole.set(prefix)
  heads.reset()
  heads.head(2, payload.length)
  whole.set(heads.finish(), prefix.length)
  whole.set(payload, start)
  if (tail !== 0) {
    whole[start + payload.length] = 0x58
    whole[start + payload.length + 1] = signature.length
    whole.set(signature, start + payload.length + 2)
  }
  return whole
}

function isArray(value: CborValue): value is readonly CborValue[] {
  return Array.isArray(value)
}

function isMap(value: CborValue | undefined): value is ReadonlyMap<number | string, CborValue> {
  return value instanceof Map
}
