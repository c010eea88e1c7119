import { isAscii, isUtf8 } from 'node:buffer'
import { controlAt, decodePercent, percentFault, utf8 } from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import { declaredCharsetFault, formCharsetFault } from './declared-charset.ts'
import { type BodyForm, type Charset, charsetOf } from './media-type.ts'

const lenient = new TextDecoder()
const windows1252 = new TextDecoder('windows-1252')
/** 0x80 to 0x9f: browsers read ISO-8859-1 as Windows-1252, others as control characters. */
const disputed = /[\x80-\x9f]/

/**
 * The body as the UTF-8 that its receiver gets to read, the very same object where it is that
 * already; or the refusal of a body that two receivers would decode to two texts. JSON needs no
 * look for control characters here: outside of strings and inside of them it is not JSON with them.
 */
export function decodeBody(body: Uint8Array, form: BodyForm): Uint8Array | Refusal {
  const { reading, charset } = form
  const text = decodeCharset(body, charset)
  if (text === null) return new Refusal('MESSAGE_MALFORMED', `the body is not ${charset}`)
  if (reading === 'json') return text
  // A byte order mark at the start means UTF-8 to one reader, and is a character of the text to
  // another.
  const marked = hasMark(text)
  if (marked && (reading === 'form' || form.essence === '')) {
    return new Refusal('MESSAGE_MALFORMED', 'the body begins with a byte order mark')
  }
  const plain = marked ? text.subarray(3) : text
  const at = controlAt(plain)
  if (at >= 0) {
    return new Refusal('MESSAGE_MALFORMED', `a control character at byte ${at} of the body`)
  }
  const fault = reading === 'form' ? formFault(plain) : declaredCharsetFault(plain, form.essence)
  return fault ?? plain
}

/** Null for bytes that the charset does not have, or that its readers do not agree on. */
function decodeCharset(body: Uint8Array, charset: Charset): Uint8Array | null {
  if (isAscii(body)) return body
  if (charset === 'utf-8') return isUtf8(body) ? body : null
  if (charset === 'us-ascii') return null
  // Without those the two are one charset, which the runtime decodes in a fraction of the time.
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString('latin1')
  if (!disputed.test(text)) return utf8(text)
  return charset === 'iso-8859-1' ? null : utf8(windows1252.decode(body))
}

/**
 * The text of a body for readers that look for words in it, before inspection refuses what it
 * cannot decode: in the charset that leaves as UTF-8, or as lenient UTF-8. `label` is in lower
 * case.
 */
export function readText(body: Uint8Array, label: string | null): string {
  const charset = label === null ? undefined : charsetOf(label)
  const isLatin = charset === 'iso-8859-1' || charset === 'windows-1252'
  return (isLatin ? windows1252 : lenient).decode(body)
}

function hasMark(text: Uint8Array): boolean {
  return text[0] === 0xef && text[1] === 0xbb && text[2] === 0xbf
}

function formFault(body: Uint8Array): Refusal | null {
  const fault = percentFault(body)
  if (fault !== null) return new Refusal('MESSAGE_MALFORMED', fault)
  return formCharsetFault(decodePercent(body))
}
