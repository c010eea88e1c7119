import { concat, utf8 } from '../encoding/bytes.ts'
import { isAgentName, isTrustDomain } from '../encoding/ids.ts'
import { type ByteReader, ByteWriter, check, parsedOrNull } from './sealed-bytes.ts'
import { isKeyId } from './sealed-message.ts'

/**
 * Key message, version 1: a sender's secret for one channel, epoch and session, wrapped to every
 * member (HPKE, RFC 9180, Base mode). It goes to the channel's key log before the first message.
 *
 *     "CSK1" | suite u16 | epoch u32 | session 16 | created-at u64 | commitment 32
 *     trust domain | channel | sender | signing-key id | count u16
 *     count * ( member | sealing-key id | enc length u16 | enc | wrapped length u16 | wrapped )
 *     signature 64 over everything before it, with its context
 */
export const KEY_MEMBERS_MAX = 256
/** The encapsulation of the hybrid suite takes 1,120 bytes; names take the rest. */
export const KEY_MESSAGE_BYTES_MAX: number = KEY_MEMBERS_MAX * 1600 + 1024

const magic = utf8('CSK1')
const context = utf8('countersign-key-v1\0')

export interface WrappedKey {
  readonly member: string
  readonly sealingKeyId: string
  readonly enc: Uint8Array
  readonly wrapped: Uint8Array
}

export interface KeyMessage {
  readonly suite: number
  readonly epoch: number
  readonly session: Uint8Array
  /** Unix milliseconds. */
  readonly createdAt: number
  /** The same 32 bytes that every message under this key carries. */
  readonly commitment: Uint8Array
  readonly trustDomain: string
  readonly channel: string
  readonly sender: string
  readonly signingKeyId: string
  /** Ascending by member; one key each. */
  readonly keys: readonly WrappedKey[]
}

export interface SignedKeyMessage {
  readonly message: KeyMessage
  readonly signature: Uint8Array
  /** The bytes that the signature covers. */
  readonly signedBytes: Uint8Array
}

/** Everything but the signature. Throws a TypeError on what the parser would refuse. */
export function encodeKeyMessage(message: KeyMessage): Uint8Array<ArrayBuffer> {
  const fault = keyMessageFault(message)
  if (fault !== null) throw new TypeError(`key message: ${fault}`)
  const writer = new ByteWriter(512 + message.keys.length * 160)
  writer.raw(magic)
  writer.u16(message.suite)
  writer.u32(message.epoch)
  writer.raw(message.session)
  writer.u64(message.createdAt)
  writer.raw(message.commitment)
  writer.text(message.trustDomain)
  writer.text(message.channel)
  writer.text(message.sender)
  writer.text(message.signingKeyId)
  writer.u16(message.keys.length)
  for (const key of message.keys) {
    writer.text(key.member)
    writer.text(key.sealingKeyId)
    writer.u16(key.enc.length)
    writer.raw(key.enc)
    writer.u16(key.wrapped.length)
    writer.raw(key.wrapped)
  }
  return writer.finish()
}

/** Returns the bytes that the sender signs about an encoded key message. */
export function keySignatureInput(encoded: Uint8Array): Uint8Array {
  return concat(context, encoded)
}

export function parseKeyMessage(bytes: Uint8Array): SignedKeyMessage | null {
  if (bytes.length > KEY_MESSAGE_BYTES_MAX) return null
  return parsedOrNull(bytes, (reader) => {
    const message = readKeyMessage(reader)
    const fault = keyMessageFault(message)
    check(fault === null, fault ?? '')
    const signedBytes = keySignatureInput(bytes.subarray(0, reader.at))
    return { message, signature: reader.raw(64), signedBytes }
  })
}

/**
 * HPKE's `info` for one wrapped key: a wrap made for one channel, epoch, sender, session or member
 * opens nowhere else.
 */
export function keyWrapInfo(
  message: Omit<KeyMessage, 'keys'>,
  key: Pick<WrappedKey, 'member' | 'sealingKeyId'>,
): Uint8Array {
  const writer = new ByteWriter(512)
  writer.raw(utf8('countersign-wrap-v1\0'))
  writer.u16(message.suite)
  writer.u32(message.epoch)
  writer.raw(message.session)
  for (const text of [
    message.trustDomain,
    message.channel,
    message.sender,
    key.member,
    key.sealingKeyId,
  ]) {
    writer.text(text)
  }
  return writer.finish()
}

function readKeyMessage(reader: ByteReader): KeyMessage {
  check(
    reader.raw(4).every((byte, i) => byte === magic[i]),
    'magic',
  )
  const head = {
    suite: reader.u16(),
    epoch: reader.u32(),
    session: reader.raw(16),
    createdAt: reader.u64(),
    commitment: reader.raw(32),
    trustDomain: reader.text(),
    channel: reader.text(),
    sender: reader.text(),
    signingKeyId: reader.text(),
  }
  const count = reader.u16()
  check(count <= KEY_MEMBERS_MAX, 'too many members')
  const keys = Array.from({ length: count }, () => ({
    member: reader.text(),
    sealingKeyId: reader.text(),
    enc: reader.raw(reader.u16()),
    wrapped: reader.raw(reader.u16()),
  }))
  return { ...head, keys }
}

function keyMessageFault(message: KeyMessage): string | null {
  if (message.suite < 1) return 'suite'
  if (message.epoch < 1) return 'epoch'
  if (message.session.length !== 16) return 'session'
  if (message.commitment.length !== 32) return 'commitment'
  if (!isTrustDomain(message.trustDomain)) return 'trust domain'
  if (!isAgentName(message.channel) || !isAgentName(message.sender)) return 'name'
  if (!isKeyId(message.signingKeyId)) return 'signing-key id'
  if (message.keys.length === 0 || message.keys.length > KEY_MEMBERS_MAX) return 'members'
  let last = ''
  for (const key of message.keys) {
    if (!isAgentName(key.member) || !isKeyId(key.sealingKeyId)) return 'member'
    if (key.member <= last) return 'members out of order'
    if (key.enc.length > 1200 || key.wrapped.length !== 48) return 'wrapped key'
    last = key.member
  }
  return null
}
