import { Refusal } from '../lib/refusal.ts'
import { decodeBody } from '../redaction/text/decode-body.ts'
import { bodyFormOf, bodyFormOfUntyped } from '../redaction/text/media-type.ts'

export { readText } from '../redaction/text/decode-body.ts'
export { charsetFor, isInspectedCharset } from '../redaction/text/media-type.ts'

/**
 * The text that every reader makes of content that a receiver sent: the very same object where it
 * is that already. A refusal of content that is not inspected, or that two readers decode to two
 * texts.
 */
export function answerText(content: Uint8Array, contentType: string): Uint8Array | Refusal {
  if (content.length === 0) return content
  const form = contentType === '' ? bodyFormOfUntyped(content) : bodyFormOf(contentType)
  if (form === null) return rejected('CONTENT_UNSUPPORTED: no detector reads this media type')
  const text = decodeBody(content, form)
  if (text instanceof Refusal) return rejected(`${text.code}: ${text.detail}`)
  // Half of the bytes of UTF-16, to a reader that guesses. Other text was searched for it.
  if (form.reading === 'json' && text.includes(0)) return rejected('a NUL in JSON')
  return text
}

function rejected(detail: string): Refusal {
  return new Refusal('RESPONSE_REJECTED', detail)
}
