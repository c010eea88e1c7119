import { buildDigits, ESCAPE, KIND } from './ascii.ts'
import type { View } from './view.ts'

export const HEX: Int8Array = buildDigits('0123456789abcdef', '0123456789ABCDEF')

/** Bytes of a decoded view, with the offset in the body that each of them came from. */
export class Decoded {
  readonly bytes: Uint8Array
  readonly map: Int32Array
  length = 0

  /** Four bytes more, because percent-decoding can leave a truncated sequence at the end. */
  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity + 4)
    this.map = new Int32Array(capacity + 5)
  }

  add(byte: number, origin: number): void {
    this.bytes[this.length] = byte
    this.map[this.length++] = origin
  }

  /** Adds bytes of the body itself, as they are. */
  addAll(body: Uint8Array, from: number, to: number): void {
    const { map } = this
    let at = this.length
    this.bytes.set(body.subarray(from, to), at)
    for (let origin = from; origin < to; origin++) map[at++] = origin
    this.length = at
  }

  /** Adds a code point as UTF-8. A decoded form is never longer than what encoded it. */
  addCodePoint(code: number, origin: number): void {
    if (code < 0x80) this.add(code, origin)
    else if (code < 0x800) {
      this.add(0xc0 | (code >> 6), origin)
      this.add(0x80 | (code & 63), origin)
    } else {
      if (code < 0x10000) this.add(0xe0 | (code >> 12), origin)
      else {
        this.add(0xf0 | (code >> 18), origin)
        this.add(0x80 | ((code >> 12) & 63), origin)
      }
      this.add(0x80 | ((code >> 6) & 63), origin)
      this.add(0x80 | (code & 63), origin)
    }
  }

  view(end: number, whole: View['whole']): View {
    this.map[this.length] = end
    return { bytes: this.bytes, from: 0, to: this.length, map: this.map, whole }
  }
}

export function originOf(view: View, at: number): number {
  return view.map === null ? at : (view.map[at] as number)
}

/**
 * The view with `%41`, `%u0041`, escapes behind a backslash, `&#65;`, `&#x41;` and `&quot;` decoded, or null
 * when it holds none: text inside JSON inside JSON still carries its escapes, which cut base64 into pieces. A
 * percent sign that starts no escape stays as it is.
 */
export function decodeEscapes(view: View): View | null {
  const { bytes, from, to } = view
  const first = nextEscape(bytes, from, to)
  if (first >= to) return null
  const decoded = new Decoded(to - from)
  let changed = false
  for (let i = from; i < to; ) {
    const escape = readEscape(bytes, i, to)
    if (escape === null) {
      decoded.add(bytes[i] as number, originOf(view, i))
      i++
      continue
    }
    changed = true
    // `%C3%A4` is UTF-8 byte by byte, `%u00e4` is a code point.
    if (bytes[i] === 0x25 && escape.length === 3) decoded.add(escape.code, originOf(view, i))
    else decoded.addCodePoint(escape.code, originOf(view, i))
    i += escape.length
  }
  return changed ? decoded.view(originOf(view, to), view.whole) : null
}

/** `\/`, `\n`, `\r` and `\t` (RFC 8259, section 7). */
const SIMPLE_ESCAPES: ReadonlyMap<number, number> = new Map([
  [0x2f, 0x2f],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
])

function nextEscape(bytes: Uint8Array, from: number, to: number): number {
  let i = from
  while (i < to && ((KIND[bytes[i] as number] as number) & ESCAPE) === 0) i++
  return i
}

function readEscape(
  bytes: Uint8Array,
  at: number,
  to: number,
): { code: number; length: number } | null {
  const lead = bytes[at]
  if (lead === 0x25) {
    const isLong = ((bytes[at + 1] ?? 0) | 0x20) === 0x75
    return isLong
      ? readHex(bytes, at + 2, { digits: 4, to, taken: 2 })
      : readHex(bytes, at + 1, { digits: 2, to, taken: 1 })
  }
  if (lead === 0x5c) return readBackslash(bytes, at, to)
  if (lead !== 0x26) return null
  return bytes[at + 1] === 0x23 ? readEntity(bytes, at + 2, to) : readNamedEntity(bytes, at + 1, to)
}

/** Escapes of JSON, JavaScript, C, Python and shells, such as `\u0041`, `\u{41}`, `\x41`, `\101`, `\n`. */
function readBackslash(
  bytes: Uint8Array,
  at: number,
  to: number,
): { code: number; length: number } | null {
  const letter = bytes[at + 1] ?? 0
  if (at + 1 >= to) return null
  if (letter === 0x75) {
    return bytes[at + 2] === 0x7b
      ? readBraces(bytes, at + 3, to)
      : readHex(bytes, at + 2, { digits: 4, to, taken: 2 })
  }
  if (letter === 0x55) {
    const long = readHex(bytes, at + 2, { digits: 8, to, taken: 2 })
    return long !== null && long.code <= 0x10ffff ? long : null
  }
  if (letter === 0x78) {
    if (bytes[at + 2] === 0x7b) return readBraces(bytes, at + 3, to)
    return readHex(bytes, at + 2, { digits: 2, to, taken: 2 })
  }
  if (letter >= 0x30 && letter <= 0x37) return readOctal(bytes, at + 1, to)
  const code = SIMPLE_ESCAPES.get(letter)
  return code === undefined ? null : { code, length: 2 }
}

/** The digits and the brace of `\u{1F600}`; at most eight digits, leading zeros included. */
function readBraces(
  bytes: Uint8Array,
  at: number,
  to: number,
): { code: number; length: number } | null {
  let code = 0
  let i = at
  for (; i < to && i - at < 8; i++) {
    const digit = HEX[bytes[i] as number] as number
    if (digit < 0) break
    code = code * 16 + digit
  }
  if (i === at || i >= to || bytes[i] !== 0x7d || code > 0x10ffff) return null
  return { code, length: i - at + 4 }
}

/** Two or three octal digits (C, shells, JavaScript); one alone is a reference to a group. */
function readOctal(
  bytes: Uint8Array,
  at: number,
  to: number,
): { code: number; length: number } | null {
  let code = 0
  let i = at
  for (; i < to && i - at < 3; i++) {
    const digit = (bytes[i] as number) - 0x30
    if (digit < 0 || digit > 7) break
    code = code * 8 + digit
  }
  return i - at < 2 || code > 0xff ? null : { code, length: i - at + 1 }
}

function readHex(
  bytes: Uint8Array,
  at: number,
  shape: { digits: number; to: number; taken: number },
): { code: number; length: number } | null {
  if (at + shape.digits > shape.to) return null
  let code = 0
  for (let i = at; i < at + shape.digits; i++) {
    const digit = HEX[bytes[i] as number] as number
    if (digit < 0) return null
    code = code * 16 + digit
  }
  return { code, length: shape.taken + shape.digits }
}

/** Named character references (HTML, section 13.5) of what stands around names, values and digits. */
const ENTITIES: ReadonlyMap<string, number> = new Map(
  Object.entries({
    quot: 0x22,
    amp: 0x26,
    apos: 0x27,
    lt: 0x3c,
    gt: 0x3e,
    nbsp: 0x20,
    colon: 0x3a,
    equals: 0x3d,
    commat: 0x40,
    period: 0x2e,
    hyphen: 0x2d,
    dash: 0x2d,
    sol: 0x2f,
    lowbar: 0x5f,
    comma: 0x2c,
    semi: 0x3b,
    dollar: 0x24,
    percnt: 0x25,
    num: 0x23,
    excl: 0x21,
    quest: 0x3f,
    ast: 0x2a,
    midast: 0x2a,
    plus: 0x2b,
    lpar: 0x28,
    rpar: 0x29,
    lsqb: 0x5b,
    lbrack: 0x5b,
    rsqb: 0x5d,
    rbrack: 0x5d,
    lcub: 0x7b,
    lbrace: 0x7b,
    rcub: 0x7d,
    rbrace: 0x7d,
    bsol: 0x5c,
    verbar: 0x7c,
    vert: 0x7c,
    grave: 0x60,
    Hat: 0x5e,
    UnderBar: 0x5f,
    ensp: 0x20,
    emsp: 0x20,
    thinsp: 0x20,
    shy: 0xad,
    zwnj: 0x200c,
    zwj: 0x200d,
    ndash: 0x2d,
    mdash: 0x2d,
    minus: 0x2d,
    QUOT: 0x22,
    AMP: 0x26,
    LT: 0x3c,
    GT: 0x3e,
    Tab: 0x09,
    NewLine: 0x0a,
  }),
)
const entityBytesMax = 10

function readNamedEntity(
  bytes: Uint8Array,
  at: number,
  to: number,
): { code: number; length: number } | null {
  const limit = Math.min(to, at + entityBytesMax)
  let name = ''
  for (let i = at; i < limit; i++) {
    if (bytes[i] === 0x3b) {
      const code = ENTITIES.get(name)
      return code === undefined ? null : { code, length: i - at + 2 }
    }
    name += String.fromCharCode(bytes[i] as number)
  }
  return null
}

/** A numeric character reference of at most eight digits, leading zeros included. */
function readEntity(
  bytes: Uint8Array,
  at: number,
  to: number,
): { code: number; length: number } | null {
  const isHex = bytes[at] === 0x78 || bytes[at] === 0x58
  const start = isHex ? at + 1 : at
  const radix = isHex ? 16 : 10
  let code = 0
  let i = start
  for (; i < to && i - start < 8; i++) {
    const digit = HEX[bytes[i] as number] as number
    if (digit < 0 || digit >= radix) break
    code = code * radix + digit
  }
  if (i === start || code > 0x10ffff) return null
  const length = i - at + 2 + (bytes[i] === 0x3b ? 1 : 0)
  // Three digits or more always leave room for the UTF-8 form; a shorter one is ASCII or Latin-1.
  return { code, length }
}
