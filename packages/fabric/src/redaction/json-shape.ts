import { originOf } from './decode.ts'
import { type InspectionWork, STEPS } from './inspection-work.ts'
import { JsonReader } from './json-reader.ts'
import { unescapeJson } from './json-string.ts'
import type { Span, View } from './view.ts'

/** A part of a finding that is cut out by itself. */
export interface Piece extends Span {
  /** Stands on both sides of the marker: a number needs quotes, as its layer of JSON writes them. */
  readonly quote: string
  /** Whether it is in a name, so that its marker must be one of its own. */
  readonly isName: boolean
}

/** JSON inside JSON inside JSON; each layer doubles the length of a quote. */
const layersMax = 4

/**
 * What may be cut out of a text that holds JSON texts, so that each stays one, of the same shape: parts
 * of strings, numbers as a whole, and anything outside of them. Brackets, colons and commas stay.
 */
export class JsonShape {
  /** In order and without overlap; in offsets of the body. */
  readonly #parts: readonly Piece[]
  readonly #whole: Span

  private constructor(parts: readonly Piece[], whole: Span) {
    this.#parts = parts
    this.#whole = whole
  }

  /** The shape of `view`, whose strings end with `quote` as the body writes it; null without JSON in it. */
  static of(view: View, quote: string, work: InspectionWork): JsonShape | null {
    if (nextOpening(view.bytes, view.from, view.to) >= view.to) return null
    const parts: Piece[] = []
    const layer = { quote, depth: 0, isName: false, work }
    if (!readText(view, layer, parts)) return null
    return new JsonShape(parts, { start: originOf(view, view.from), end: originOf(view, view.to) })
  }

  /** What to cut out for a finding; one that is all of the text is cut out as a whole. */
  pieces(span: Span): readonly Piece[] {
    const undivided = { ...span, quote: '', isName: false }
    if (span.start <= this.#whole.start && span.end >= this.#whole.end) return [undivided]
    const pieces: Piece[] = []
    for (let i = this.#firstAfter(span.start); i < this.#parts.length; i++) {
      const part = this.#parts[i] as Piece
      if (part.start >= span.end) break
      if (part.quote !== '') pieces.push(part)
      else {
        const start = Math.max(part.start, span.start)
        pieces.push({ ...part, start, end: Math.min(part.end, span.end) })
      }
    }
    return pieces.length === 0 ? [undivided] : pieces
  }

  /** The first part that ends beyond `at`. */
  #firstAfter(at: number): number {
    let low = 0
    let high = this.#parts.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#parts[middle] as Piece).end <= at) low = middle + 1
      else high = middle
    }
    return low
  }
}

interface Layer {
  readonly quote: string
  readonly depth: number
  /** Whether the text is a name in the layer above. */
  readonly isName: boolean
  readonly work: InspectionWork
}

/**
 * Adds the parts of a text, and tells whether any JSON text is in it. Reading goes on where one ends
 * or is none, so each byte of a layer is read once.
 */
function readText(view: View, layer: Layer, parts: Piece[]): boolean {
  const { bytes, from, to } = view
  layer.work.spend(STEPS.decodedByte * (to - from))
  let outside = from
  const addOutside = (end: number): void => {
    if (end <= outside) return
    const span = { start: originOf(view, outside), end: originOf(view, end) }
    parts.push({ ...span, quote: '', isName: layer.isName })
  }
  let inside: Piece[] = []
  const reader = new JsonReader(bytes.subarray(0, to), (kind, { from, to, escaped }) => {
    addToken({ ...view, from, to }, { kind, escaped }, { layer, parts: inside })
  })
  for (let at = nextOpening(bytes, from, to); at < to; at = nextOpening(bytes, reader.at, to)) {
    if (reader.read(at)) {
      addOutside(at)
      for (const part of inside) parts.push(part)
      outside = reader.at
    }
    inside = []
  }
  const isAny = outside > from
  addOutside(to)
  return isAny
}

function nextOpening(bytes: Uint8Array, from: number, to: number): number {
  let i = from
  while (i < to && bytes[i] !== 0x7b && bytes[i] !== 0x5b) i++
  return i
}

function addToken(
  view: View,
  token: { kind: 'key' | 'string' | 'number'; escaped: boolean },
  { layer, parts }: { layer: Layer; parts: Piece[] },
): void {
  layer.work.spend(STEPS.leaf)
  const span = { start: originOf(view, view.from), end: originOf(view, view.to) }
  const isName = layer.isName || token.kind === 'key'
  if (token.kind === 'number') parts.push({ ...span, quote: layer.quote, isName })
  else if (layer.depth + 1 < layersMax) {
    const inner = { ...layer, quote: escaped(layer.quote), depth: layer.depth + 1, isName }
    readText(token.escaped ? unescapeJson(view) : view, inner, parts)
  } else parts.push({ ...span, quote: '', isName })
}

/** A quote as a string of JSON around it writes it (RFC 8259, section 7). */
export const escaped = (quote: string): string => JSON.stringify(quote).slice(1, -1)
