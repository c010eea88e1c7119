import { ESCAPE, KIND } from './ascii.ts'
import { type Escape, lastBackslash, NOTHING, readEscape } from './escapes.ts'
import type { Span, View } from './view.ts'

/** At least as many as any detector looks at behind the end of its view. */
const aheadBytes = 64

/** Bytes of a decoded view, with the offset in the body that each of them came from. */
export class Decoded {
  readonly bytes: Uint8Array
  readonly map: Int32Array
  readonly capacity: number
  length = 0

  /** Four bytes more, because percent-decoding can leave a truncated sequence at the end. */
  constructor(capacity: number) {
    this.capacity = capacity
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
    // Detectors look a few bytes ahead, where an earlier use may have left some.
    this.bytes.fill(0, this.length, this.length + aheadBytes)
    return { bytes: this.bytes, from: 0, to: this.length, map: this.map, whole }
  }
}

export function originOf(view: View, at: number): number {
  return view.map === null ? at : (view.map[at] as number)
}

/**
 * The view with `%41`, `%u0041`, escapes behind a backslash, `&#65;`, `&#x41;` and `&quot;`
 * decoded, or null when it holds none: text inside JSON inside JSON still carries its escapes,
 * which cut base64 into pieces. A percent sign that starts no escape stays as it is.
 */
export function decodeEscapes(view: View): View | null {
  return decodeAs(view, 'eager').view
}

/**
 * Every view that the escapes of one layer can stand for: one in nearly all texts. `&#6%34;` is a
 * control character and `4;`, or `&#64;` if the percent sign is decoded first; three backslashes
 * and an `n` are the end of a line in three layers, or a backslash before one.
 */
export function escapeReadings(view: View): readonly View[] {
  const eager = decodeAs(view, 'eager')
  if (eager.view === null) return []
  if (!eager.isAmbiguous) return [eager.view]
  const later = decodeAs(view, 'later')
  return later.view === null ? [eager.view] : [eager.view, later.view]
}

/** The texts behind so many layers of escapes, in each way that they can be read. */
export function textsBehind(text: string, layers: number): readonly string[] {
  if (!/[%&\\]/.test(text)) return [text]
  const bytes = Buffer.from(text)
  let views: readonly View[] = [{ bytes, from: 0, to: bytes.length, map: null, whole: null }]
  for (let layer = 0; layer < layers; layer++) {
    views = views.flatMap((view) => {
      const readings = escapeReadings(view)
      return readings.length === 0 ? [view] : readings
    })
  }
  return views.map(({ bytes, from, to }) => Buffer.from(bytes.subarray(from, to)).toString())
}

/** `later` leaves to the next layer what an escape behind it may complete. */
type Reading = 'eager' | 'later'

function decodeAs(
  view: View,
  reading: Reading,
): { readonly view: View | null; readonly isAmbiguous: boolean } {
  const { bytes, from, to } = view
  // Per cent signs and ampersands of prose escape nothing, and cost no copy.
  let next = nextEscape(bytes, from, to)
  if (next === null) return { view: null, isAmbiguous: false }
  const decoded = new Decoded(to - from)
  let isAmbiguous = false
  let changed = false
  let i = from
  for (; next !== null; next = nextEscape(bytes, i, to)) {
    const { at } = next
    const escape = withLowSurrogate(bytes, next, to)
    addPlain(decoded, view, { start: i, end: at })
    i = at + escape.length
    isAmbiguous ||= escape.isOpen
    const isLater = reading === 'later' && escape.isOpen
    if (isLater && escape.kept === 0) {
      addPlain(decoded, view, { start: at, end: i })
      continue
    }
    changed = true
    if (isLater) addPlain(decoded, view, { start: at, end: at + escape.kept })
    addEscape(decoded, escape, originOf(view, at))
  }
  addPlain(decoded, view, { start: i, end: to })
  return { view: changed ? decoded.view(originOf(view, to), view.whole) : null, isAmbiguous }
}

interface PlacedEscape {
  readonly at: number
  readonly escape: Escape
}

/** The first escape that stands for something, from `from` on. */
function nextEscape(bytes: Uint8Array, from: number, to: number): PlacedEscape | null {
  for (let at = from; at < to; at++) {
    if (((KIND[bytes[at] as number] as number) & ESCAPE) === 0) continue
    const escape = readEscape(bytes, at, to)
    if (escape !== null) return { at, escape }
    // Backslashes before nothing that they escape: read at once, not once from each.
    if (bytes[at] === 0x5c) at = lastBackslash(bytes, at, to)
  }
  return null
}

function addPlain(decoded: Decoded, view: View, { start, end }: Span): void {
  const { bytes, map } = view
  if (map === null) decoded.addAll(bytes, start, end)
  else for (let i = start; i < end; i++) decoded.add(bytes[i] as number, map[i] as number)
}

/** The escape, and of a surrogate the one behind it, if they are a pair. */
function withLowSurrogate(bytes: Uint8Array, { at, escape }: PlacedEscape, to: number): Escape {
  if (escape.code < 0xd800 || escape.code > 0xdbff) return escape
  const low = readEscape(bytes, at + escape.length, to)
  if (low === null || low.code < 0xdc00 || low.code > 0xdfff) return escape
  const code = (escape.code - 0xd800) * 0x400 + low.code - 0xdc00 + 0x10000
  return { ...escape, code, length: escape.length + low.length }
}

function addEscape(decoded: Decoded, { code, isByte }: Escape, origin: number): void {
  if (code === NOTHING) return
  // `%C3%A4` is UTF-8 byte by byte, `%u00e4` is a code point.
  if (isByte) decoded.add(code, origin)
  else decoded.addCodePoint(code, origin)
}
