import { ByteWriter, check, parsedOrNull } from './sealed-bytes.ts'
import { SEALED_BODY_BYTES_MAX } from './sealed-message.ts'

/**
 * The plaintext of a sealed message. Sender and channel stand inside as well as in the signed
 * header, so that an attacker cannot strip a signature and pass the ciphertext on under another
 * name.
 *
 *     version u8 = 1 | trust domain | channel | sender | content type | body length u32 |
 *     body | zeros
 */
export interface SealedContent {
  readonly trustDomain: string
  readonly channel: string
  readonly sender: string
  readonly contentType: string
  readonly body: Uint8Array
}

/**
 * Precision with which the length of a ciphertext reveals the length of its body: exact, to 256
 * bytes, to a factor of two.
 */
export type SealedPadding = 'none' | 'block' | 'power'

const version = 1
const blockBytes = 256

/** Throws a TypeError when the body is above `SEALED_BODY_BYTES_MAX`. */
export function encodeSealedContent(
  content: SealedContent,
  padding: SealedPadding,
): Uint8Array<ArrayBuffer> {
  const { body } = content
  if (body.length > SEALED_BODY_BYTES_MAX) throw new TypeError('the body is too large to seal')
  const { trustDomain, channel, sender, contentType } = content
  const texts = trustDomain.length + channel.length + sender.length + contentType.length
  const length = paddedLength(9 + texts + body.length, padding)
  // Of exactly that length, and zero behind what is written.
  const writer = new ByteWriter(length)
  writer.u8(version)
  writer.text(trustDomain)
  writer.text(channel)
  writer.text(sender)
  writer.text(contentType)
  writer.u32(body.length)
  writer.raw(body)
  return writer.whole()
}

/** The content, or null when the bytes are anything else; the body is a view. */
export function parseSealedContent(bytes: Uint8Array): SealedContent | null {
  return parsedOrNull(bytes, (reader) => {
    check(reader.u8() === version, 'version')
    const trustDomain = reader.text()
    const channel = reader.text()
    const sender = reader.text()
    const contentType = reader.text()
    const body = reader.raw(reader.u32())
    check(isZero(reader.raw(reader.left)), 'padding')
    return { trustDomain, channel, sender, contentType, body }
  })
}

function isZero(bytes: Uint8Array): boolean {
  let seen = 0
  for (const byte of bytes) seen |= byte
  return seen === 0
}

function paddedLength(length: number, padding: SealedPadding): number {
  if (padding === 'none') return length
  if (padding === 'block') return Math.ceil(length / blockBytes) * blockBytes
  return 2 ** Math.ceil(Math.log2(Math.max(length, blockBytes)))
}
