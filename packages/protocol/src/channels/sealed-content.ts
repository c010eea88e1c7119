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
  const writer = new ByteWriter(body.length + 256)
  writer.u8(version)
  writer.text(content.trustDomain)
  writer.text(content.channel)
  writer.text(content.sender)
  writer.text(content.contentType)
  writer.u32(body.length)
  writer.raw(body)
  const exact = writer.finish()
  const length = paddedLength(exact.length, padding)
  if (length === exact.length) return exact
  const padded = new Uint8Array(length)
  padded.set(exact)
  return padded
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
    check(
      reader.raw(reader.left).every((byte) => byte === 0),
      'padding',
    )
    return { trustDomain, channel, sender, contentType, body }
  })
}

function paddedLength(length: number, padding: SealedPadding): number {
  if (padding === 'none') return length
  if (padding === 'block') return Math.ceil(length / blockBytes) * blockBytes
  return 2 ** Math.ceil(Math.log2(Math.max(length, blockBytes)))
}
