import { equalBytes } from '../encoding/bytes.ts'
import { isAgentName, isId, isTrustDomain, type MessageId } from '../encoding/ids.ts'
import {
  type ByteReader,
  ByteWriter,
  check,
  fastHex,
  hexBytes,
  parsedOrNull,
} from './sealed-bytes.ts'

/**
 * Sealed message, version 1. All integers are big-endian, every field has one encoding only:
 *
 *     "CSM1" | suite u16 | flags u8 | message id 16 | session 16 | epoch u32 | sequence u64
 *     created-at u64 | not-after u64 | idempotency hash 16 | content hash 16 | previous 32
 *     [ordering hash 16, when flags bit 1] | trust domain | channel | sender | signing-key id
 *     content type | label count u8 | labels, ascending         (texts: length u8, printable ASCII)
 *     --- the header ends here; with the commitment it is the AEAD's additional data
 *     commitment 32 | ciphertext length u32 | ciphertext | tag 16
 *     --- the core ends here; it is what the sender signs
 *     signature 64 [| count u16 | index u16 | path n * 32, when flags bit 0: signed as a batch]
 */
export const SEALED_MAGIC: Uint8Array = new Uint8Array([0x43, 0x53, 0x4d, 0x31])

/** The body of one message before sealing; larger things are passed by reference. */
export const SEALED_BODY_BYTES_MAX: number = 1024 * 1024
/** Names, lengths and padding up to the next power of two come on top of the body. */
export const SEALED_CIPHERTEXT_BYTES_MAX: number = 2 * SEALED_BODY_BYTES_MAX + 1024
/** Header, tag, signature and proof stay below this for any values of their fields. */
export const SEALED_BYTES_MAX: number = SEALED_CIPHERTEXT_BYTES_MAX + 4096
export const SEALED_LABELS_MAX = 16
/** One signature may cover this many messages; the proof then takes eight hashes. */
export const SEALED_BATCH_MAX = 256
/**
 * A session ends here: far below any limit of AES-GCM for counter nonces, and it bounds one key's
 * use.
 */
export const SEALED_SEQUENCE_MAX: number = 2 ** 20 - 1

/** The previous core of a session's first message. */
const chainStart = new Uint8Array(32)

const flagBatch = 1
const flagOrdering = 2
const labelPattern = /^[a-z0-9][a-z0-9._:-]{0,62}$/
/** Labels of that name are reserved for the fabric, now and later. */
const ownLabel = /^countersign(?![a-z0-9])/
const keyIdPattern = /^[!-~]{1,128}$/
const contentTypePattern = /^[!-~](?:[ -~]{0,125}[!-~])?$/

/** Everything in clear. The broker and policy may read it; the sender signed all of it. */
export interface SealedHeader {
  readonly suite: number
  readonly batchSigned: boolean
  readonly messageId: MessageId
  /** 16 random bytes for each key that a sender seals under: one per channel, epoch and session. */
  readonly session: Uint8Array
  readonly epoch: number
  /** Per session, from 0, one more for each message; at most `SEALED_SEQUENCE_MAX`. */
  readonly sequence: number
  /** Unix milliseconds, by the sender's clock. */
  readonly createdAt: number
  /** Unix milliseconds after which no receiver opens it. */
  readonly notAfter: number
  /**
   * 16 bytes: a keyed hash, so that the broker can compare idempotency keys but not guess them; the
   * message id itself where the sender gave no key.
   */
  readonly idempotencyHash: Uint8Array
  /**
   * 16 bytes: a keyed hash over idempotency key and body, which distinguishes a retry from a
   * different message; zeros where the sender gave no key.
   */
  readonly contentHash: Uint8Array
  /** SHA-256 digest of the session's previous core; zeros exactly at sequence 0. */
  readonly previous: Uint8Array
  /** 16 bytes, or null for a message that need not wait for others. */
  readonly orderingHash: Uint8Array | null
  readonly trustDomain: string
  readonly channel: string
  readonly sender: string
  readonly signingKeyId: string
  readonly contentType: string
  /** Sorted, without duplicates: what policy decides on. */
  readonly labels: readonly string[]
}

/** The position of a message in the batch that one signature covers (RFC 9162, section 2.1.3). */
export interface BatchProof {
  readonly count: number
  readonly index: number
  /** The siblings on the way to the root, 32 bytes each, one after the other. */
  readonly path: Uint8Array
}

/**
 * A parsed message, entirely unverified. Byte fields are views into the bytes it was parsed from.
 */
export interface SealedMessage {
  readonly header: SealedHeader
  /** Header and commitment, as encoded. */
  readonly additionalData: Uint8Array
  readonly commitment: Uint8Array
  readonly ciphertext: Uint8Array
  readonly tag: Uint8Array
  readonly core: Uint8Array
  readonly signature: Uint8Array
  readonly batch: BatchProof | null
}

/** The 16 bytes of the UUIDv7 in a message id. */
export function messageIdBytes(messageId: MessageId): Uint8Array<ArrayBuffer> {
  return hexBytes(messageId.slice(4))
}

/**
 * Reports whether a sender may give a message this label: labels in the name of the fabric are
 * excluded.
 */
export function isSealedLabel(value: unknown): value is string {
  return typeof value === 'string' && labelPattern.test(value) && !ownLabel.test(value)
}

export function isKeyId(value: unknown): value is string {
  return typeof value === 'string' && keyIdPattern.test(value)
}

export function isContentType(value: unknown): value is string {
  return typeof value === 'string' && contentTypePattern.test(value)
}

/** Memory for one header at a time, since fresh memory costs each message as much as its cipher. */
const headers = new ByteWriter(512)

/**
 * Header and commitment, as they stand in the message. Throws a TypeError on a header that
 * `parseSealedMessage` would not take back.
 */
export function encodeAdditionalData(
  header: SealedHeader,
  commitment: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const fault = headerFault(header)
  if (fault !== null) throw new TypeError(`sealed header: ${fault}`)
  const writer = headers.reset()
  writer.raw(SEALED_MAGIC)
  writer.u16(header.suite)
  writer.u8(
    (header.batchSigned ? flagBatch : 0) | (header.orderingHash === null ? 0 : flagOrdering),
  )
  writer.raw(messageIdBytes(header.messageId))
  writer.raw(header.session)
  writer.u32(header.epoch)
  writer.u64(header.sequence)
  writer.u64(header.createdAt)
  writer.u64(header.notAfter)
  writer.raw(header.idempotencyHash)
  writer.raw(header.contentHash)
  writer.raw(header.previous)
  if (header.orderingHash !== null) writer.raw(header.orderingHash)
  writer.text(header.trustDomain)
  writer.text(header.channel)
  writer.text(header.sender)
  writer.text(header.signingKeyId)
  writer.text(header.contentType)
  writer.u8(header.labels.length)
  for (const label of header.labels) writer.text(label)
  writer.raw(commitment)
  return writer.take()
}

/** The content between the additional data and the signature. */
export interface SealedPayload {
  readonly ciphertext: Uint8Array
  readonly tag: Uint8Array
}

/** A message that lacks its signature, and its proof if it is one of a batch. */
export interface UnsignedMessage {
  /** The memory of the whole message. */
  readonly bytes: Uint8Array<ArrayBuffer>
  /** The bytes that are signed: a view into `bytes`. */
  readonly core: Uint8Array
}

/**
 * Lays the message out in the one memory that it will have; `additionalData` is the result of
 * `encodeAdditionalData`. The place must be given exactly when the header marks the batch as
 * signed.
 */
export function encodeUnsignedMessage(
  additionalData: Uint8Array,
  { ciphertext, tag }: SealedPayload,
  place: Pick<BatchProof, 'count' | 'index'> | null,
): UnsignedMessage {
  const proof = place === null ? 0 : 4 + batchPathLength(place.index, place.count) * 32
  const coreLength = additionalData.length + 4 + ciphertext.length + tag.length
  const bytes = new Uint8Array(coreLength + 64 + proof)
  bytes.set(additionalData)
  let at = additionalData.length
  new DataView(bytes.buffer).setUint32(at, ciphertext.length)
  at += 4
  bytes.set(ciphertext, at)
  bytes.set(tag, at + ciphertext.length)
  return { bytes, core: bytes.subarray(0, coreLength) }
}

/** Puts signature and proof behind the core, and returns the finished message, which is `bytes`. */
export function completeMessage(
  { bytes, core }: UnsignedMessage,
  signature: Uint8Array,
  batch: BatchProof | null,
): Uint8Array<ArrayBuffer> {
  const length = batch === null ? 0 : 4 + batch.path.length
  if (bytes.length !== core.length + 64 + length) throw new TypeError('another place in the batch')
  bytes.set(signature, core.length)
  if (batch === null) return bytes
  const at = core.length + 64
  const view = new DataView(bytes.buffer)
  view.setUint16(at, batch.count)
  view.setUint16(at + 2, batch.index)
  bytes.set(batch.path, at + 4)
  return bytes
}

/**
 * The parts of a message, or null when the bytes are not exactly one message in its one encoding.
 */
export function parseSealedMessage(bytes: Uint8Array): SealedMessage | null {
  if (bytes.length > SEALED_BYTES_MAX) return null
  return parsedOrNull(bytes, (reader) => {
    const header = readHeader(reader)
    const commitment = reader.raw(32)
    const additionalData = bytes.subarray(0, reader.at)
    const ciphertextLength = reader.u32()
    check(ciphertextLength <= SEALED_CIPHERTEXT_BYTES_MAX, 'ciphertext length')
    const ciphertext = reader.raw(ciphertextLength)
    const tag = reader.raw(16)
    const core = bytes.subarray(0, reader.at)
    const signature = reader.raw(64)
    const batch = header.batchSigned ? readBatch(reader) : null
    return { header, additionalData, commitment, ciphertext, tag, core, signature, batch }
  })
}

/** Returns the number of siblings that lead from leaf `index` to the root of `count` leaves. */
export function batchPathLength(index: number, count: number): number {
  let length = 0
  for (let at = index, width = count; width > 1; at >>= 1, width = (width + 1) >> 1) {
    // The last node of an odd level moves up alone.
    if (at % 2 === 1 || at + 1 < width) length++
  }
  return length
}

function readHeader(reader: ByteReader): SealedHeader {
  const magic = reader.raw(4)
  check(equalBytes(magic, SEALED_MAGIC), 'magic')
  const suite = reader.u16()
  const flags = reader.u8()
  check((flags & ~(flagBatch | flagOrdering)) === 0, 'unknown flag')
  const header: SealedHeader = {
    suite,
    batchSigned: (flags & flagBatch) !== 0,
    messageId: `msg_${fastHex(reader.raw(16))}`,
    session: reader.raw(16),
    epoch: reader.u32(),
    sequence: reader.u64(),
    createdAt: reader.u64(),
    notAfter: reader.u64(),
    idempotencyHash: reader.raw(16),
    contentHash: reader.raw(16),
    previous: reader.raw(32),
    orderingHash: (flags & flagOrdering) === 0 ? null : reader.raw(16),
    trustDomain: reader.text(),
    channel: reader.text(),
    sender: reader.text(),
    signingKeyId: reader.text(),
    contentType: reader.text(),
    labels: readLabels(reader),
  }
  const fault = headerFault(header)
  check(fault === null, fault ?? '')
  return header
}

function readLabels(reader: ByteReader): readonly string[] {
  const count = reader.u8()
  check(count <= SEALED_LABELS_MAX, 'too many labels')
  return Array.from({ length: count }, () => reader.text())
}

function readBatch(reader: ByteReader): BatchProof {
  const count = reader.u16()
  const index = reader.u16()
  check(count >= 1 && count <= SEALED_BATCH_MAX && index < count, 'batch position')
  return { count, index, path: reader.raw(batchPathLength(index, count) * 32) }
}

/** Writer and reader ask the same question, so that nothing is written that cannot be read. */
function headerFault(header: SealedHeader): string | null {
  if (!isInteger(header.suite, 1, 0xffff)) return 'suite'
  if (!isId('msg', header.messageId)) return 'message id'
  if (header.session.length !== 16) return 'session'
  if (!isInteger(header.epoch, 1, 0xffff_ffff)) return 'epoch'
  if (!isInteger(header.sequence, 0, SEALED_SEQUENCE_MAX)) return 'sequence'
  if (!isInteger(header.createdAt, 0, Number.MAX_SAFE_INTEGER)) return 'created-at'
  if (!isInteger(header.notAfter, header.createdAt, Number.MAX_SAFE_INTEGER)) return 'not-after'
  if (header.idempotencyHash.length !== 16 || header.contentHash.length !== 16) return 'hash'
  if (header.orderingHash !== null && header.orderingHash.length !== 16) return 'ordering hash'
  if (header.previous.length !== 32) return 'previous'
  if ((header.sequence === 0) !== equalBytes(header.previous, chainStart)) return 'chain start'
  if (!isTrustDomain(header.trustDomain)) return 'trust domain'
  if (!isAgentName(header.channel)) return 'channel'
  if (!isAgentName(header.sender)) return 'sender'
  if (!isKeyId(header.signingKeyId)) return 'signing-key id'
  if (!isContentType(header.contentType)) return 'content type'
  return labelsFault(header.labels)
}

function labelsFault(labels: readonly string[]): string | null {
  if (labels.length > SEALED_LABELS_MAX) return 'too many labels'
  let last = ''
  for (const label of labels) {
    if (!isSealedLabel(label)) return 'label'
    if (label <= last) return 'labels out of order'
    last = label
  }
  return null
}

function isInteger(value: number, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= max
}
