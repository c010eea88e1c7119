import { type InspectionWork, STEPS } from '../inspection-work.ts'
import { originOf } from '../text/decode.ts'
import { afterWhiteSpace } from '../text/json-white-space.ts'
import type { Span, View } from '../text/view.ts'
import { JsonReader } from './json-reader.ts'
import { unescapeJson } from './json-string.ts'

/** A part of a finding that is cut out by itself. */
export interface Piece extends Span {
  /**
   * Stands on both sides of the marker: a number needs quotes, as its layer of JSON writes them.
   */
  readonly quote: string
  /** True if it is in a name, so that its marker must be unique to it. */
  readonly isName: boolean
}

/** A part that may be cut out, with its decoded text if it was written with escapes. */
interface Part extends Piece {
  readonly text: View | null
}

/** JSON inside JSON inside JSON; each layer doubles the length of a quote. */
const layersMax = 4

/**
 * The parts that may be cut out of a text that holds JSON texts, so that each stays JSON of the
 * same shape: parts of strings, numbers as a whole, and anything outside of them. Brackets, colons
 * and commas stay.
 */
export class JsonShape {
  /** In order and without overlap; in offsets of the body. */
  readonly #parts: readonly Part[]
  readonly #whole: Span

  private constructor(parts: readonly Part[], whole: Span) {
    this.#parts = parts
    this.#whole = whole
  }

  /**
   * The shape of `view`, whose strings end with `quote` as the body writes it; null without JSON in
   * it.
   */
  static of(view: View, quote: string, work: InspectionWork): JsonShape | null {
    if (nextOpening(view.bytes, view.from, view.to) >= view.to) return null
    const parts: Part[] = []
    const layer = { quote, depth: 0, isName: false, work }
    if (!readText(view, layer, parts)) return null
    return new JsonShape(parts, { start: originOf(view, view.from), end: originOf(view, view.to) })
  }

  /**
   * Returns the pieces to cut out for a finding; if the finding covers all of the text, the text is
   * cut out as a whole.
   */
  pieces(span: Span): readonly Piece[] {
    const undivided = { ...span, quote: '', isName: false }
    if (span.start <= this.#whole.start && span.end >= this.#whole.end) return [undivided]
    const pieces: Piece[] = []
    for (let i = this.#firstAfter(span.start); i < this.#parts.length; i++) {
      const part = this.#parts[i] as Part
      if (part.start >= span.end) break
      pieces.push(part.quote === '' ? clipped(part, span) : part)
    }
    // Only brackets, commas, or a word such as null: the shape itself, which holds no value.
    return pieces
  }

  /** The first part that ends beyond `at`. */
  #firstAfter(at: number): number {
    let low = 0
    let high = this.#parts.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#parts[middle] as Part).end <= at) low = middle + 1
      else high = middle
    }
    return low
  }
}

/**
 * Returns the piece of `part` that is in `span`. A cut inside of an escape would leave half of it,
 * to be read with the text that follows.
 */
function clipped({ text, ...part }: Part, span: Span): Piece {
  const start = Math.max(part.start, span.start)
  const end = Math.min(part.end, span.end)
  if (text === null) return { ...part, start, end }
  return {
    ...part,
    start: originOf(text, firstAt(text, start + 1) - 1),
    end: originOf(text, firstAt(text, end)),
  }
}

/** The first offset of `text` that stands in the body at `origin` or behind it. */
function firstAt(text: View, origin: number): number {
  let low = text.from
  let high = text.to
  while (low < high) {
    const middle = (low + high) >> 1
    if (originOf(text, middle) < origin) low = middle + 1
    else high = middle
  }
  return low
}

interface Layer {
  readonly quote: string
  readonly depth: number
  /** True if the text is a name in the layer above. */
  readonly isName: boolean
  readonly work: InspectionWork
}

/**
 * Adds the parts of a text, and reports whether it holds any JSON text. Reading continues where a
 * JSON text ends or fails, so each byte of a layer is read once.
 */
function readText(view: View, layer: Layer, parts: Part[]): boolean {
  const { bytes, from, to } = view
  layer.work.spend(STEPS.shapeByte * (to - from))
  let outside = from
  const addOutside = (end: number): void => {
    if (end <= outside) return
    parts.push(partOf({ ...view, from: outside, to: end }, layer.isName))
  }
  let inside: Part[] = []
  const reader = new JsonReader(bytes.subarray(0, to), (kind, { from, to, escaped }) => {
    addToken({ ...view, from, to }, { kind, escaped }, { layer, parts: inside })
  })
  const starts = new Starts(bytes, from, to)
  for (let at = starts.first(); at < to; at = starts.next(reader.at)) {
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

/**
 * Finds where JSON texts may begin: at a bracket, or at the quote of a string that holds one, since
 * an answer may be JSON inside a string of JSON. Linear: a string that is none ends before the next
 * one.
 */
class Starts {
  readonly #bytes: Uint8Array
  readonly #from: number
  readonly #to: number
  /** True if some quote was open to the end: then every later one is, too. */
  #isOpen = false

  constructor(bytes: Uint8Array, from: number, to: number) {
    this.#bytes = bytes
    this.#from = from
    this.#to = to
  }

  first(): number {
    const at = afterWhiteSpace(this.#bytes, this.#from, this.#to)
    return this.#isString(at) ? at : this.next(this.#from)
  }

  next(from: number): number {
    const at = nextOpening(this.#bytes, from, this.#to)
    return at > from && at < this.#to && this.#isString(at - 1) ? at - 1 : at
  }

  /** Reports whether a string begins here, and is not followed by a letter as in `"{"a":1}"`. */
  #isString(at: number): boolean {
    const bytes = this.#bytes
    if (at >= this.#to || bytes[at] !== 0x22 || this.#isOpen) return false
    let end = at + 1
    for (; end < this.#to && bytes[end] !== 0x22; end++) if (bytes[end] === 0x5c) end++
    this.#isOpen = end >= this.#to
    if (this.#isOpen) return false
    const after = afterWhiteSpace(bytes, end + 1, this.#to)
    return after >= this.#to || BEHIND_STRING.has(bytes[after] as number) || isBreak(bytes[end + 1])
  }
}

const BEHIND_STRING: ReadonlySet<number> = new Set(Buffer.from(',;)]}'))

const isBreak = (byte: number | undefined): boolean => byte === 0x0a || byte === 0x0d

function nextOpening(bytes: Uint8Array, from: number, to: number): number {
  let i = from
  while (i < to && bytes[i] !== 0x7b && bytes[i] !== 0x5b) i++
  return i
}

function addToken(
  view: View,
  token: { kind: 'key' | 'string' | 'number'; escaped: boolean },
  { layer, parts }: { layer: Layer; parts: Part[] },
): void {
  layer.work.spend(STEPS.leaf)
  const isName = layer.isName || token.kind === 'key'
  if (token.kind === 'number') {
    parts.push({ ...partOf(view, isName), quote: layer.quote })
    return
  }
  if (token.escaped) layer.work.spend(STEPS.decodedByte * (view.to - view.from))
  const text = token.escaped ? unescapeJson(view) : view
  if (layer.depth + 1 >= layersMax) {
    parts.push(partOf(text, isName))
    return
  }
  const inner = { ...layer, quote: escaped(layer.quote), depth: layer.depth + 1, isName }
  readText(text, inner, parts)
}

function partOf(text: View, isName: boolean): Part {
  const span = { start: originOf(text, text.from), end: originOf(text, text.to) }
  return { ...span, quote: '', isName, text: text.map === null ? null : text }
}

/** A quote as a string of JSON around it writes it (RFC 8259, section 7). */
export const escaped = (quote: string): string => JSON.stringify(quote).slice(1, -1)
