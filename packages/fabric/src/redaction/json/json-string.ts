import {
  beginsSwitch,
  behindIndent,
  type Prefilter,
  prefilterStretch,
} from '../detectors/prefilter.ts'
import { ESCAPE } from '../text/ascii.ts'
import { Decoded, originOf } from '../text/decode.ts'
import type { View } from '../text/view.ts'

/** The text is not JSON as RFC 8259 and RFC 7493 define it; the message names the position. */
export class JsonFault extends Error {
  readonly at: number

  constructor(what: string, at: number) {
    // Text that is not JSON may fail at every bracket, and to record a stack costs more than to
    // read it.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(`${what} at byte ${at}`)
    Error.stackTraceLimit = stackTraceLimit
    this.at = at
  }
}

/** A string of a JSON text, by its place in the body; the quotes are outside. */
export interface JsonString {
  readonly from: number
  readonly to: number
  /** True if it holds escapes, so that the bytes are not the value. */
  readonly escaped: boolean
  /** True if its bytes are known to hold neither an escape of another kind nor another alphabet. */
  readonly quiet?: boolean
}

/**
 * Reads the string whose first byte is at `from` and gives the offset of its closing quote. Adds to
 * `seen` what its bytes are. Throws `JsonFault` where it is not a string.
 *
 * `\n` and its kin stand for bytes that no keyword holds, so a prefilter that restarts after them
 * misses nothing. `\u` and `\/` may stand for any, and `\b` and `\f` for nothing that is seen: then
 * `seen` counts as having escapes.
 */
export function readJsonString(bytes: Uint8Array, from: number, seen: Prefilter): number {
  let at = from
  for (;;) {
    at = prefilterStretch(bytes, at, bytes.length, seen)
    const stop = bytes[at]
    if (stop === 0x22) return at
    if (stop !== 0x5c) throw new JsonFault('a string does not end', at)
    seen.escaped = true
    const letter = bytes[at + 1]
    // A tab may be the indentation of the next line.
    if (letter !== 0x6e && letter !== 0x72 && letter !== 0x74) seen.openRun = 0
    // A list of arguments in a string has no keyword to detect it by: `["-u", "jane:…"]`.
    if (letter === 0x22 && beginsSwitch(bytes, at + 2)) seen.keyword = seen.named = true
    // A backslash in the value may start an escape of another kind; the view decides.
    if (MAY_HIDE.has(letter)) seen.kinds |= ESCAPE
    at = afterEscape(bytes, at)
    if (seen.openRun !== 0) at = behindIndent(bytes, at, bytes.length)
  }
}

/** u, /, \, b, f */
const MAY_HIDE: ReadonlySet<number | undefined> = new Set([0x75, 0x2f, 0x5c, 0x62, 0x66])

/**
 * The offset after the escape at `at`; a surrogate must be one of a pair (RFC 7493, section 2.1).
 */
function afterEscape(bytes: Uint8Array, at: number): number {
  const letter = bytes[at + 1]
  if (letter !== 0x75) {
    if (letter === undefined || !SIMPLE.has(letter)) throw new JsonFault('an escape is unknown', at)
    return at + 2
  }
  const code = readHex4(bytes, at + 2)
  if (code < 0) throw new JsonFault('an escape is unknown', at)
  if (code < 0xd800 || code > 0xdfff) return at + 6
  const isPair = code < 0xdc00 && bytes[at + 6] === 0x5c && bytes[at + 7] === 0x75
  const low = isPair ? readHex4(bytes, at + 8) : -1
  if (low < 0xdc00 || low > 0xdfff) throw new JsonFault('a surrogate stands alone', at)
  return at + 12
}

/** `"`, `\`, `/`, b, f, n, r, t (RFC 8259, section 7). */
const SIMPLE: ReadonlySet<number> = new Set([0x22, 0x5c, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74])

function readHex4(bytes: Uint8Array, at: number): number {
  let code = 0
  for (let i = at; i < at + 4; i++) {
    const byte = (bytes[i] ?? 0) | 0x20
    const isDigit = byte >= 0x30 && byte <= 0x39 && (bytes[i] ?? 0) >= 0x30
    if (!isDigit && (byte < 0x61 || byte > 0x66)) return -1
    code = code * 16 + (isDigit ? byte - 0x30 : byte - 0x57)
  }
  return code
}

/** The text of a key as a string. */
export function nameOf(bytes: Uint8Array, leaf: JsonString): string {
  return textOf(viewOf(bytes, leaf))
}

export function textOf({ bytes, from, to }: View): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString()
}

const ESCAPED: ReadonlyMap<number, number> = new Map([
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
])

/**
 * Returns the view of a leaf for the detectors: the body itself, or the value behind the escapes.
 */
export function viewOf(bytes: Uint8Array, leaf: JsonString): View {
  const view = { bytes, from: leaf.from, to: leaf.to, map: null, whole: null }
  return leaf.escaped ? unescapeJson(view) : view
}

/** The value behind the escapes of a view of a JSON string that was read before. */
export function unescapeJson(view: View): View {
  const { bytes, from, to } = view
  const decoded = new Decoded(to - from)
  for (let i = from; i < to; ) {
    const origin = originOf(view, i)
    const byte = bytes[i] as number
    if (byte !== 0x5c) {
      decoded.add(byte, origin)
      i++
      continue
    }
    const letter = bytes[i + 1] as number
    if (letter !== 0x75) {
      decoded.add(ESCAPED.get(letter) ?? letter, origin)
      i += 2
      continue
    }
    const code = readHex4(bytes, i + 2)
    const isPair = code >= 0xd800 && code <= 0xdbff
    const low = isPair ? readHex4(bytes, i + 8) : 0
    decoded.addCodePoint(isPair ? (code - 0xd800) * 0x400 + low - 0xdc00 + 0x10000 : code, origin)
    i += isPair ? 12 : 6
  }
  return decoded.view(originOf(view, to), view.whole)
}
