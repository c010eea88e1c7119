import { BASE64, ESCAPE, KIND, runEnd } from './ascii.ts'
import type { View } from './view.ts'

const HEX: Int8Array = buildDigits('0123456789abcdef', '0123456789ABCDEF')
const SIX_BITS: Int8Array = buildDigits(
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
)

function buildDigits(...alphabets: readonly string[]): Int8Array {
  const digits = new Int8Array(256).fill(-1)
  for (const alphabet of alphabets) {
    for (let i = 0; i < alphabet.length; i++) digits[alphabet.charCodeAt(i)] = i
  }
  return digits
}

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
 * The view with `%41`, `\u0041`, `\x41`, `&#65;` and `&#x41;` decoded, or null when it holds none. A
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
    if (bytes[i] === 0x25) decoded.add(escape.code, originOf(view, i))
    else decoded.addCodePoint(escape.code, originOf(view, i))
    i += escape.length
  }
  return changed ? decoded.view(originOf(view, to), view.whole) : null
}

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
  if (lead === 0x25) return readHex(bytes, at + 1, { digits: 2, to, taken: 1 })
  if (lead === 0x5c) {
    if (bytes[at + 1] === 0x75) return readHex(bytes, at + 2, { digits: 4, to, taken: 2 })
    if (bytes[at + 1] === 0x78) return readHex(bytes, at + 2, { digits: 2, to, taken: 2 })
    return null
  }
  if (lead === 0x26 && bytes[at + 1] === 0x23) return readEntity(bytes, at + 2, to)
  return null
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

/** The bytes behind base64 or base64url between `start` and `end`, padding optional; null if it is neither. */
export function decodeBase64(bytes: Uint8Array, start: number, end: number): Uint8Array | null {
  let last = end
  while (last > start && bytes[last - 1] === 0x3d) last--
  if ((last - start) % 4 === 1) return null
  const decoded = new Uint8Array(Math.floor(((last - start) * 3) / 4))
  let bits = 0
  let held = 0
  let length = 0
  for (let i = start; i < last; i++) {
    const six = SIX_BITS[bytes[i] as number] as number
    if (six < 0) return null
    bits = ((bits << 6) | six) & 0xffffff
    held += 6
    if (held < 8) continue
    held -= 8
    decoded[length++] = (bits >> held) & 0xff
  }
  return decoded
}

/** Twelve decoded bytes hold the shortest thing worth finding, an address. */
const base64BytesMin = 16
/** How much of a run is decoded to see whether text is behind it at all. */
const sampleBytes = 64

/**
 * Calls `visit` with the decoded form of every run of base64 that text is behind. Pictures, hashes
 * and identifiers are told from text by the first 48 decoded bytes and left alone.
 */
export function eachBase64(view: View, visit: (decoded: View) => void): void {
  const { bytes, to } = view
  let i = view.from
  while (i < to) {
    if (((KIND[bytes[i] as number] as number) & BASE64) === 0) {
      i++
      continue
    }
    const start = i
    i = runEnd(bytes, i, { to, mask: BASE64 })
    const bare = i
    while (i < to && i - bare < 2 && bytes[i] === 0x3d) i++
    if (bare - start < base64BytesMin || !hidesText(bytes, start, bare)) continue
    // A length that cannot be base64 has lost or gained a character; what precedes it still decodes.
    const usable = (bare - start) % 4 === 1 ? bare - 1 : bare
    const decoded = decodeBase64(bytes, start, usable)
    if (decoded === null) continue
    const whole = view.whole ?? { start: originOf(view, start), end: originOf(view, i) }
    visit({ bytes: decoded, from: 0, to: decoded.length, map: null, whole })
  }
}

/** Whether at least seven of ten of the first decoded bytes are readable. Allocates nothing. */
function hidesText(bytes: Uint8Array, start: number, end: number): boolean {
  const last = start + Math.min(sampleBytes, (end - start) & ~3)
  const decoded = ((last - start) / 4) * 3
  let unreadable = decoded * 0.3
  for (let i = start; i < last; i += 4) {
    const word =
      ((SIX_BITS[bytes[i] as number] as number) << 18) |
      ((SIX_BITS[bytes[i + 1] as number] as number) << 12) |
      ((SIX_BITS[bytes[i + 2] as number] as number) << 6) |
      (SIX_BITS[bytes[i + 3] as number] as number)
    unreadable -= UNREADABLE[(word >> 16) & 0xff] as number
    unreadable -= UNREADABLE[(word >> 8) & 0xff] as number
    unreadable -= UNREADABLE[word & 0xff] as number
    if (unreadable < 0) return false
  }
  return true
}

const UNREADABLE = Uint8Array.from({ length: 256 }, (_, byte) =>
  (byte >= 0x20 && byte < 0x7f) || byte === 0x0a || byte === 0x0d || byte === 0x09 ? 0 : 1,
)
