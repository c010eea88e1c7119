import { parseUtf8, utf8 } from '@countersign/protocol'

/**
 * Characters other than CR and LF at which some readers end a line: those of `\R` in Java and of
 * `splitlines` in Python (VT, FF, FS, GS, RS, NEL, LS, PS). A reader of event streams that splits
 * by them would see a line, and with it a field or an event, where the standard (WHATWG HTML,
 * section 9.2.6) has none.
 */
const characters = [0x0b, 0x0c, 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029].map((code) =>
  String.fromCharCode(code),
)
const lineBreak = new RegExp(`[${characters.join('')}]`)
const everyLineBreak = new RegExp(lineBreak, 'g')

/** The same characters in UTF-8, each byte read as one character. */
const lineBreakBytes = new RegExp(
  characters.map((character) => latin1Of(utf8(character))).join('|'),
)

export function hasLineBreak(text: string): boolean {
  return lineBreak.test(text)
}

/** Counts these characters in `text`; stops counting above `most`. */
export function lineBreaksIn(text: string, most: number): number {
  if (!hasLineBreak(text)) return 0
  let count = 0
  for (const _ of text.matchAll(everyLineBreak)) {
    if (++count > most) break
  }
  return count
}

/**
 * The same text as every reader splits it. In JSON, where such a character can stand in strings
 * alone, it is written as its escape; in other text it becomes the line break that it is to some
 * readers, and so the beginning of another `data` line to all of them. The very same bytes where
 * there is nothing to replace.
 */
export function withoutLineBreaks(bytes: Uint8Array, contentType: string): Uint8Array {
  if (!lineBreakBytes.test(latin1Of(bytes))) return bytes
  const text = parseUtf8(bytes)
  const isJson = contentType === 'application/json' || isJsonString(text)
  return utf8(text.replace(everyLineBreak, (each) => (isJson ? escaped(each) : '\n')))
}

function latin1Of({ buffer, byteOffset, length }: Uint8Array): string {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, length).toString('latin1')
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** A client may parse a lone string as JSON; as text, it has the same lines either way. */
function isJsonString(text: string): boolean {
  if (!text.trimStart().startsWith('"')) return false
  try {
    return typeof JSON.parse(text) === 'string'
  } catch {
    return false
  }
}
