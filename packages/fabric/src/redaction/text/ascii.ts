/** Character classes of single bytes, as bits, so that every hot loop asks one table once. */
export const DIGIT = 1
export const UPPER = 2
export const LOWER = 4
/** `-` and `_`, which base64url adds to letters and digits. */
export const URL_SAFE = 8
/** `+` and `/`, which base64 adds. */
export const STANDARD = 16
/** Bytes that start an escape: `%`, `\`, `&`. */
export const ESCAPE = 32
/** Bytes beyond ASCII, and DEL. A prefilter counts other control characters among them. */
export const NON_ASCII = 64
/** Characters of a domain name or of the local part of an address besides letters and digits. */
export const MAIL_PUNCTUATION = 128

export const LETTER = UPPER | LOWER
export const ALNUM = DIGIT | LETTER
export const BASE64_URL = ALNUM | URL_SAFE
export const BASE64 = BASE64_URL | STANDARD

export const KIND: Uint8Array = buildKinds()

function buildKinds(): Uint8Array {
  const kinds = new Uint8Array(256)
  for (let byte = 0; byte < 256; byte++) {
    if (byte >= 0x30 && byte <= 0x39) kinds[byte] = DIGIT
    else if (byte >= 0x41 && byte <= 0x5a) kinds[byte] = UPPER
    else if (byte >= 0x61 && byte <= 0x7a) kinds[byte] = LOWER
    else if (byte >= 0x7f) kinds[byte] = NON_ASCII
  }
  const add = (text: string, bit: number): void => {
    for (const character of text) {
      const code = character.charCodeAt(0)
      kinds[code] = (kinds[code] as number) | bit
    }
  }
  add('-_', URL_SAFE)
  add('+/', STANDARD)
  add('%\\&', ESCAPE)
  add("._%+-'", MAIL_PUNCTUATION)
  return kinds
}

export function kindOf(bytes: Uint8Array, at: number): number {
  return KIND[bytes[at] as number] as number
}

/**
 * Reports whether a token may begin at `at`: the byte to the left is not alphanumeric. The letter
 * of an escape such as `\n` does not count: text inside JSON inside JSON still carries its escapes.
 */
export function isLeftEdge(bytes: Uint8Array, from: number, at: number): boolean {
  if (at <= from) return true
  if ((kindOf(bytes, at - 1) & ALNUM) === 0) return true
  return isEscapeLetter(bytes, from, at - 1)
}

/** Reports whether `at` is the letter of `\n`, `\r`, `\t`, `\b` or `\f` written out. */
export function isEscapeLetter(bytes: Uint8Array, from: number, at: number): boolean {
  if (at <= from || bytes[at - 1] !== 0x5c) return false
  const letter = bytes[at]
  return letter === 0x6e || letter === 0x72 || letter === 0x74 || letter === 0x62 || letter === 0x66
}

/** The end of the run of bytes of the kinds in `mask` that begins at `at`. */
export function runEnd(bytes: Uint8Array, at: number, limit: { to: number; mask: number }): number {
  let i = at
  while (i < limit.to && ((KIND[bytes[i] as number] as number) & limit.mask) !== 0) i++
  return i
}

/** The bytes as text, one character per byte; for short excerpts that are only compared. */
export function latin1(bytes: Uint8Array, from: number, to: number): string {
  let text = ''
  for (let i = from; i < to; i++) text += String.fromCharCode(bytes[i] as number)
  return text
}

/** The value of every byte that is a digit in one of the alphabets, and -1 for the others. */
export function buildDigits(...alphabets: readonly string[]): Int8Array {
  const digits = new Int8Array(256).fill(-1)
  for (const alphabet of alphabets) {
    for (let i = 0; i < alphabet.length; i++) digits[alphabet.charCodeAt(i)] = i
  }
  return digits
}

/** As `latin1`, for longer excerpts that patterns are matched against; empty beyond the end. */
export function excerptOf(bytes: Uint8Array, from: number, to: number): string {
  // A quote that closes with fewer signs than opened it may be the last thing of all bytes.
  if (from >= to) return ''
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1')
}
