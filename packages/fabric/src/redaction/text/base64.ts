import { isUtf8 } from 'node:buffer'
import { STEPS } from '../inspection-work.ts'
import { BASE64, buildDigits, KIND, runEnd } from './ascii.ts'
import { originOf } from './decode.ts'
import type { Span, View } from './view.ts'

const SIX_BITS = buildDigits(
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
)

/**
 * The bytes behind base64 or base64url between `start` and `end`, padding optional; null if it is
 * neither.
 */
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

/**
 * Letters of base64 behind which something worth finding fits, and the bytes that they stand for.
 */
export const base64RunMin = 16
const stretchMin = 12

/**
 * Calls `visit` with the text behind every run of base64, one line or several.
 *
 * A run counts as text where all of it is UTF-8. Anything else can be a picture with text in it, or
 * text behind letters that belong to something else, such as the rest of a path: of that, whatever
 * is readable for twelve bytes on end is shown, however the run is aligned, and zeros for the rest.
 * In random bytes almost nothing is. UTF-16 is shown as UTF-8.
 */
export function eachBase64(
  view: View,
  visit: (decoded: View) => void,
  spend: (steps: number) => void,
): void {
  const { bytes, to } = view
  for (let i = view.from; i < to; ) {
    if (!isBase64(bytes, i)) {
      i++
      continue
    }
    const start = i
    let end = i
    let lines = 0
    let letters = 0
    for (;;) {
      const bare = runEnd(bytes, i, { to, mask: BASE64 })
      letters += bare - i
      lines++
      end = paddingEnd(bytes, bare, to)
      i = end
      const following = end === bare ? lineStart(bytes, end, to) : end
      if (following === end || !isBase64(bytes, following)) break
      i = following
    }
    if (letters < base64RunMin) continue
    spend(STEPS.decodedByte * letters)
    const place = (from: number, till: number): Span =>
      view.whole ?? { start: originOf(view, from), end: originOf(view, till) }
    if (lines > 1) {
      const run = withoutBreaks(bytes, { start, end }, letters)
      if (visitRun(run, { start: 0, end: letters }, { whole: place(start, end), visit })) continue
    }
    // Lines that together are not text may be tokens, one on each.
    for (let at = start; at < end; ) {
      const bare = runEnd(bytes, at, { to: end, mask: BASE64 })
      const till = paddingEnd(bytes, bare, end)
      visitRun(bytes, { start: at, end: bare }, { whole: place(at, till), visit })
      at = lineStart(bytes, till, end)
      if (at === till) break
    }
  }
}

const isBase64 = (bytes: Uint8Array, at: number): boolean =>
  ((KIND[bytes[at] as number] as number) & BASE64) !== 0

function paddingEnd(bytes: Uint8Array, at: number, to: number): number {
  let i = at
  while (i < to && i - at < 2 && bytes[i] === 0x3d) i++
  return i
}

/**
 * Returns the start of the next line, indentation skipped, if a line ends at `at`; otherwise `at`.
 */
function lineStart(bytes: Uint8Array, at: number, to: number): number {
  let i = at
  while (i < to && (bytes[i] === 0x0d || bytes[i] === 0x0a)) i++
  if (i === at) return at
  while (i < to && (bytes[i] === 0x20 || bytes[i] === 0x09)) i++
  return i < to ? i : at
}

function withoutBreaks(bytes: Uint8Array, range: Span, letters: number): Uint8Array {
  const run = new Uint8Array(letters)
  let length = 0
  for (let i = range.start; i < range.end; i++) {
    if (isBase64(bytes, i)) run[length++] = bytes[i] as number
  }
  return run
}

interface Showing {
  readonly whole: Span
  readonly visit: (decoded: View) => void
}

/** Decodes a run and reports whether all of it is text. */
function visitRun(bytes: Uint8Array, run: Span, { whole, visit }: Showing): boolean {
  if (run.end - run.start < base64RunMin) return false
  const show = (text: Uint8Array): void => {
    visit({ bytes: text, from: 0, to: text.length, map: null, whole })
  }
  let isText = false
  for (let shift = 0; shift < 4; shift++) {
    const aligned = { start: run.start + shift, end: run.end }
    const mayBeText = shift === 0 && startsLikeText(bytes, run)
    if (!mayBeText && !holdsStretch(bytes, aligned)) continue
    const decoded = decodeAligned(bytes, aligned)
    const wide = decodeWide(decoded)
    if (wide !== null) show(wide)
    if (mayBeText && isUtf8(decoded)) isText = true
    else if (!keepStretches(decoded)) continue
    show(decoded)
  }
  return isText
}

/** A length that cannot be base64 has lost or gained a letter; what precedes it still decodes. */
function decodeAligned(bytes: Uint8Array, { start, end }: Span): Uint8Array {
  const usable = (end - start) % 4 === 1 ? end - 1 : end
  return decodeBase64(bytes, start, usable) ?? new Uint8Array()
}

/** The byte number `at` behind the run that begins at `start`. */
function byteBehind(bytes: Uint8Array, start: number, at: number): number {
  const part = at % 3
  const letter = start + ((at - part) / 3) * 4 + part
  const high = SIX_BITS[bytes[letter] as number] as number
  const low = SIX_BITS[bytes[letter + 1] as number] as number
  return (((high << 6) | low) >> (4 - 2 * part)) & 0xff
}

/** The bytes of a run to sample before it is decoded whole. */
const sampleMax = 48

/**
 * Reports whether the first bytes could be UTF-8, by their lengths alone: hashes and pictures are
 * not.
 */
function startsLikeText(bytes: Uint8Array, { start, end }: Span): boolean {
  const length = Math.min(Math.floor(((end - start) * 3) / 4), sampleMax)
  let continued = 0
  for (let i = 0; i < length; i++) {
    const byte = byteBehind(bytes, start, i)
    if (continued > 0) {
      if ((byte & 0xc0) !== 0x80) return false
      continued--
    } else if (byte >= 0xf0) continued = 3
    else if (byte >= 0xe0) continued = 2
    else if (byte >= 0xc0) continued = 1
    else if (byte >= 0x80) return false
  }
  return true
}

/** 1 for what people read, 2 for the zeros of UTF-16. */
const READABLE = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte === 0) return 2
  return (byte >= 0x20 && byte < 0x7f) || byte === 0x0a || byte === 0x0d || byte === 0x09 ? 1 : 0
})

/**
 * Reports whether twelve consecutive bytes are readable or zero. Only every twelfth byte is
 * checked, and its neighbours if it is one of them. Allocates nothing.
 */
function holdsStretch(bytes: Uint8Array, { start, end }: Span): boolean {
  const length = Math.floor(((end - start) * 3) / 4)
  for (let probe = stretchMin - 1; probe < length; probe += stretchMin) {
    if (READABLE[byteBehind(bytes, start, probe)] === 0) continue
    let first = probe
    while (first > probe - stretchMin + 1 && READABLE[byteBehind(bytes, start, first - 1)] !== 0) {
      first--
    }
    let last = probe + 1
    while (last < length && last - first < stretchMin) {
      if (READABLE[byteBehind(bytes, start, last)] === 0) break
      last++
    }
    if (last - first >= stretchMin) return true
  }
  return false
}

/** Writes zeros over all but the readable stretches, and returns whether there is one. */
function keepStretches(decoded: Uint8Array): boolean {
  let kept = false
  for (let i = 0; i < decoded.length; ) {
    let end = i
    while (end < decoded.length && READABLE[decoded[end] as number] === 1) end++
    if (end - i >= stretchMin) kept = true
    else decoded.fill(0, i, end)
    i = end
    while (i < decoded.length && READABLE[decoded[i] as number] !== 1) decoded[i++] = 0
  }
  return kept
}

/**
 * The bytes as UTF-16 (RFC 2781), as UTF-8, if at least six ASCII characters on end are written so.
 */
function decodeWide(decoded: Uint8Array): Uint8Array | null {
  let stretch = 0
  let before = 0
  for (let i = 0; i < decoded.length; i++) {
    const kind = READABLE[decoded[i] as number] as number
    stretch = kind !== 0 && kind + before === 3 ? stretch + 1 : 0
    before = kind
    if (stretch < stretchMin - 1) continue
    // In the big-endian form the zeros come first, at even offsets.
    const swapped = (i % 2 === 0) === (kind === 2)
    const pairs = Buffer.alloc(decoded.length + (decoded.length & 1))
    pairs.set(decoded)
    return Buffer.from((swapped ? pairs.swap16() : pairs).toString('utf16le'))
  }
  return null
}
