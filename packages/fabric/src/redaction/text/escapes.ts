import { buildDigits, ESCAPE, KIND, LETTER, latin1 } from './ascii.ts'
import { characterNameMax, codeOfName, ENTITIES, entityNameMax } from './escape-names.ts'

export const HEX: Int8Array = buildDigits('0123456789abcdef', '0123456789ABCDEF')

/** The code of what stands for nothing: a line that goes on in the next one. */
export const NOTHING = -1

export interface Escape {
  readonly code: number
  readonly length: number
  /** True if the code is a byte of UTF-8, not a code point. */
  readonly isByte: boolean
  /** True if it reads differently when the text behind it is decoded first. */
  readonly isOpen: boolean
  /** Backslashes that are left where it is read as one layer alone. */
  readonly kept: number
}

interface Coded {
  readonly code: number
  readonly length: number
}

const beyondUnicode = 0x110000

/**
 * The escape that begins at `at`, of any language; null where none does. Linear in what it reads.
 */
export function readEscape(bytes: Uint8Array, at: number, to: number): Escape | null {
  const lead = bytes[at]
  if (lead === 0x25) {
    const isLong = ((bytes[at + 1] ?? 0) | 0x20) === 0x75
    const coded = isLong
      ? readHex(bytes, at + 2, { digits: 4, to, taken: 2 })
      : readHex(bytes, at + 1, { digits: 2, to, taken: 1 })
    return coded === null ? null : { ...coded, isByte: !isLong, isOpen: false, kept: 0 }
  }
  if (lead === 0x5c) return readBackslashes(bytes, at, to)
  if (lead !== 0x26) return null
  if (bytes[at + 1] === 0x23) return readReference(bytes, at, to)
  const named = readNamedReference(bytes, at + 1, to)
  return named === null ? null : { ...named, isByte: false, isOpen: false, kept: 0 }
}

/**
 * Escapes of JSON, JavaScript, C, Python, Perl and shells. Each layer of strings doubles the
 * backslashes: any number of them before an escape is that many layers of the same one.
 */
function readBackslashes(bytes: Uint8Array, at: number, to: number): Escape | null {
  const last = lastBackslash(bytes, at, to)
  const coded = readBackslash(bytes, last, to)
  if (coded === null) return null
  const before = last - at
  const isCut =
    isShortOctal(bytes, last, coded.length) && startsEscape(bytes, last + coded.length, to)
  const isUneven = before > 0 && before % 2 === 0
  return {
    code: coded.code,
    length: before + coded.length,
    isByte: false,
    isOpen: isCut || isUneven,
    kept: isUneven && !isCut ? before / 2 : 0,
  }
}

/** Of a run of backslashes that begins at `at`. */
export function lastBackslash(bytes: Uint8Array, at: number, to: number): number {
  let last = at
  while (last + 1 < to && bytes[last + 1] === 0x5c) last++
  return last
}

const startsEscape = (bytes: Uint8Array, at: number, to: number): boolean =>
  at < to && ((KIND[bytes[at] as number] as number) & ESCAPE) !== 0

const isOctal = (byte: number | undefined): boolean =>
  byte !== undefined && byte >= 0x30 && byte <= 0x37

const isShortOctal = (bytes: Uint8Array, at: number, length: number): boolean =>
  isOctal(bytes[at + 1]) && length <= octalDigitsMax

/** By the letter behind the backslash. The controls stand for nothing that is seen. */
const SIMPLE_ESCAPES: ReadonlyMap<number, number> = new Map([
  ...Object.entries({ n: 0x0a, r: 0x0d, t: 0x09, a: 0x07, b: 0x08, e: 0x1b, f: 0x0c, v: 0x0b }).map(
    ([letter, code]) => [letter.charCodeAt(0), code] as const,
  ),
  // These stand for themselves (JavaScript, shells, Markdown). A quote stays, since it may close a
  // string, and what begins an escape is read by itself.
  ...Array.from('/@.-_:=+#,;~!?*$^|<>()[]{} 89', (sign) => {
    const code = sign.charCodeAt(0)
    return [code, code] as const
  }),
])

function readBackslash(bytes: Uint8Array, at: number, to: number): Coded | null {
  if (at + 1 >= to) return null
  const letter = bytes[at + 1] as number
  if (letter === 0x0a || letter === 0x0d) return readContinuation(bytes, at, to)
  if (isOctal(letter)) return readOctal(bytes, at + 1, to)
  const isBraced = bytes[at + 2] === 0x7b && at + 2 < to
  if (letter === 0x75) {
    return isBraced
      ? readBraces(bytes, at + 3, to, 16)
      : readHex(bytes, at + 2, { digits: 4, to, taken: 2 })
  }
  if (letter === 0x78) {
    return isBraced
      ? readBraces(bytes, at + 3, to, 16)
      : readHex(bytes, at + 2, { digits: 2, to, taken: 2 })
  }
  if (letter === 0x55) {
    const long = readHex(bytes, at + 2, { digits: 8, to, taken: 2 })
    return long !== null && long.code < beyondUnicode ? long : null
  }
  if (letter === 0x6f && isBraced) return readBraces(bytes, at + 3, to, 8)
  if (letter === 0x4e && isBraced) return readCharacterName(bytes, at + 3, to)
  const code = SIMPLE_ESCAPES.get(letter)
  return code === undefined ? null : { code, length: 2 }
}

/** A line that goes on in the next one, whose indentation does not count (YAML, TOML). */
function readContinuation(bytes: Uint8Array, at: number, to: number): Coded {
  let end = bytes[at + 1] === 0x0d && bytes[at + 2] === 0x0a ? at + 3 : at + 2
  while (end < to && (bytes[end] === 0x20 || bytes[end] === 0x09)) end++
  return { code: NOTHING, length: Math.min(end, to) - at }
}

/** The digits and the brace of `\u{1F600}`, with any number of zeros before them. */
function readBraces(bytes: Uint8Array, at: number, to: number, radix: number): Coded | null {
  const { code, end } = readNumber(bytes, at, to, radix)
  if (end === at || end >= to || bytes[end] !== 0x7d || code >= beyondUnicode) return null
  return { code, length: end - at + 4 }
}

/** `\N{COMMERCIAL AT}` */
function readCharacterName(bytes: Uint8Array, at: number, to: number): Coded | null {
  const limit = Math.min(to, at + characterNameMax + 1)
  let end = at
  while (end < limit && bytes[end] !== 0x7d) end++
  if (end >= limit) return null
  const code = codeOfName(latin1(bytes, at, end))
  return code < 0 || code >= beyondUnicode ? null : { code, length: end - at + 4 }
}

const octalDigitsMax = 3

/** One to three octal digits (C, Python, shells, JavaScript). */
function readOctal(bytes: Uint8Array, at: number, to: number): Coded {
  let code = 0
  let i = at
  while (i < to && i - at < octalDigitsMax && isOctal(bytes[i])) {
    const next = code * 8 + (bytes[i] as number) - 0x30
    if (next > 0xff) break
    code = next
    i++
  }
  return { code, length: i - at + 1 }
}

function readHex(
  bytes: Uint8Array,
  at: number,
  shape: { digits: number; to: number; taken: number },
): Coded | null {
  if (at + shape.digits > shape.to) return null
  let code = 0
  for (let i = at; i < at + shape.digits; i++) {
    const digit = HEX[bytes[i] as number] as number
    if (digit < 0) return null
    code = code * 16 + digit
  }
  return { code, length: shape.taken + shape.digits }
}

/** All digits from `at` on; a number beyond Unicode stays beyond it. */
function readNumber(
  bytes: Uint8Array,
  at: number,
  to: number,
  radix: number,
): { readonly code: number; readonly end: number } {
  let code = 0
  let end = at
  for (; end < to; end++) {
    const digit = HEX[bytes[end] as number] as number
    if (digit < 0 || digit >= radix) break
    code = Math.min(code * radix + digit, beyondUnicode)
  }
  return { code, end }
}

/** `&#64;` and `&#x40;`, the semicolon optional, with any number of zeros. */
function readReference(bytes: Uint8Array, at: number, to: number): Escape | null {
  const isHex = ((bytes[at + 2] ?? 0) | 0x20) === 0x78
  const start = isHex ? at + 3 : at + 2
  const { code, end } = readNumber(bytes, start, to, isHex ? 16 : 10)
  if (end <= start || code >= beyondUnicode) return null
  const isClosed = end < to && bytes[end] === 0x3b
  return {
    code,
    length: end - at + (isClosed ? 1 : 0),
    isByte: false,
    isOpen: !isClosed && startsEscape(bytes, end, to),
    kept: 0,
  }
}

function readNamedReference(bytes: Uint8Array, at: number, to: number): Coded | null {
  const limit = Math.min(to, at + entityNameMax + 1)
  let end = at
  while (end < limit && ((KIND[bytes[end] as number] as number) & LETTER) !== 0) end++
  if (end >= limit || bytes[end] !== 0x3b) return null
  const code = ENTITIES.get(latin1(bytes, at, end))
  return code === undefined ? null : { code, length: end - at + 2 }
}
