import { clearPrefilter, createPrefilter, isQuiet, type Prefilter } from '../detectors/prefilter.ts'
import { jsonNumberEnd } from '../text/json-number.ts'
import { afterWhiteSpace } from '../text/json-white-space.ts'
import { JsonFault, type JsonString, nameOf, readJsonString } from './json-string.ts'

/** One key, string or number of a JSON text, by its place in the body; quotes are outside. */
export interface JsonLeaf extends JsonString {
  readonly kind: 'key' | 'string' | 'number'
  /** True if its bytes give no detector a reason to run. */
  readonly quiet: boolean
  /**
   * The kinds of its bytes; for an escaped leaf, without the bytes that the escapes encode. Not set
   * for numbers.
   */
  readonly seen: Prefilter
}

/** One step on the way to a leaf. */
export interface JsonStep {
  readonly isObject: boolean
  /** The name that the walk stands at; null in an array, and while a name itself is shown. */
  readonly key: JsonString | null
  readonly index: number
}

/** The container that the walk stands in. */
export interface JsonContainer extends JsonStep {
  /** Its opening bracket. */
  readonly start: number
}

/** Receives each container with the offset behind its closing bracket. */
export type JsonClose = (container: JsonContainer, end: number) => void

interface Frame extends JsonStep {
  /** Its opening bracket. */
  start: number
  isObject: boolean
  key: JsonString | null
  index: number
  /**
   * Names so far, once there are too many to compare one by one, or one is written with escapes.
   */
  names: Set<string> | null
  namesFrom: number
}

/** Names of one object up to which comparing them one by one is faster than a set. */
const comparedNamesMax = 12
/** Shorter numbers are none that anyone looks for. */
const numberBytesMin = 7

/**
 * Walks a JSON text and shows every leaf to `visit`, keys before their values, without building
 * values: what is not touched can then be copied byte by byte.
 *
 * Accepts exactly what `parseStrictJson` accepts: no duplicate names (RFC 7493, section 2.3;
 * compared after decoding), no `__proto__`, no lone surrogates, no number beyond a double, bounded
 * depth; a test compares the two. Throws `JsonFault` otherwise. The caller has checked that the
 * bytes are UTF-8.
 */
export class JsonWalk {
  readonly #bytes: Uint8Array
  readonly #depthMax: number
  readonly #visit: (leaf: JsonLeaf) => void
  readonly #enter: (() => void) | null
  readonly #close: JsonClose | null
  readonly #seen: Prefilter = createPrefilter()
  /** The leaf that is shown; one object for all of them, valid during `visit` only. */
  readonly #leaf = {
    seen: this.#seen,
    kind: 'string' as JsonLeaf['kind'],
    from: 0,
    to: 0,
    escaped: false,
    quiet: true,
  }
  /** Frames from `#depth` on are spare. */
  readonly #frames: Frame[] = []
  #depth = 0
  /**
   * Names of all open objects; entries from `#nameCount` on are spare. Shrinking the array would
   * free it.
   */
  readonly #names: JsonString[] = []
  #nameCount = 0

  constructor(
    bytes: Uint8Array,
    options: {
      depthMax: number
      visit: (leaf: JsonLeaf) => void
      /** Called before each container, while the walk still stands outside. */
      enter?: () => void
      /** Called at the end of each container, while the walk still stands in it. */
      close?: JsonClose
    },
  ) {
    this.#bytes = bytes
    this.#depthMax = options.depthMax
    this.#visit = options.visit
    this.#enter = options.enter ?? null
    this.#close = options.close ?? null
  }

  /** The leaf that was shown last. */
  get leaf(): JsonLeaf {
    return this.#leaf
  }

  /**
   * The start of the innermost container, and the current name or index of the walk; null outside.
   */
  get container(): JsonContainer | null {
    return this.#depth === 0 ? null : (this.#frames[this.#depth - 1] ?? null)
  }

  /** Outermost first. */
  get steps(): readonly JsonStep[] {
    return this.#frames.slice(0, this.#depth)
  }

  /** The name in the outermost container, where that is an object. */
  get outermostKey(): JsonString | null {
    return this.#depth === 0 ? null : (this.#frames[0]?.key ?? null)
  }

  /** The name that applies to the leaf: its own, or that of the list that contains it. */
  get nearestKey(): JsonString | null {
    for (let i = this.#depth - 1; i >= 0; i--) {
      const frame = this.#frames[i] as Frame
      if (frame.isObject) return frame.key
    }
    return null
  }

  walk(): void {
    const bytes = this.#bytes
    let at = afterWhiteSpace(bytes, 0, bytes.length)
    for (;;) {
      const byte = bytes[at]
      if (byte === 0x7b || byte === 0x5b) {
        this.#open(byte === 0x7b, at)
        at = afterWhiteSpace(bytes, at + 1, bytes.length)
        if (bytes[at] !== byte + 2) {
          if (byte === 0x7b) at = this.#key(at)
          continue
        }
        // An empty container ends like any other, in the loop below.
      } else if (byte === 0x22) at = this.#string(at)
      else at = this.#scalar(at)
      at = this.#afterValue(at)
      if (at < 0) return
    }
  }

  /** The start of the next value, or -1 at the end; closes every container that ends here. */
  #afterValue(from: number): number {
    const bytes = this.#bytes
    let at = from
    for (;;) {
      at = afterWhiteSpace(bytes, at, bytes.length)
      if (this.#depth === 0) {
        if (at !== bytes.length) throw new JsonFault('text after the end', at)
        return -1
      }
      const frame = this.#frames[this.#depth - 1] as Frame
      const byte = bytes[at]
      if (byte === 0x2c) {
        at = afterWhiteSpace(bytes, at + 1, bytes.length)
        if (frame.isObject) return this.#key(at)
        frame.index++
        return at
      }
      if (byte !== (frame.isObject ? 0x7d : 0x5d)) throw new JsonFault('not JSON', at)
      this.#close?.(frame, at + 1)
      this.#nameCount = frame.namesFrom
      this.#depth--
      at++
    }
  }

  #open(isObject: boolean, at: number): void {
    if (this.#depth >= this.#depthMax) throw new JsonFault('nested too deeply', at)
    this.#enter?.()
    const frame = this.#frames[this.#depth++]
    const namesFrom = this.#nameCount
    if (frame === undefined) {
      this.#frames.push({ isObject, start: at, key: null, index: 0, names: null, namesFrom })
      return
    }
    frame.isObject = isObject
    frame.start = at
    frame.key = frame.names = null
    frame.index = 0
    frame.namesFrom = namesFrom
  }

  /** Reads a name and its colon; gives the start of the value. */
  #key(at: number): number {
    const frame = this.#frames[this.#depth - 1] as Frame
    if (this.#bytes[at] !== 0x22) throw new JsonFault('a name is missing', at)
    clearPrefilter(this.#seen)
    const to = readJsonString(this.#bytes, at + 1, this.#seen)
    const quiet = isQuiet(this.#seen)
    const key = { from: at + 1, to, escaped: this.#seen.escaped, quiet }
    this.#claimName(frame, key)
    if (!quiet) {
      // Shown before it becomes part of the path: a finding in it is located by what is above.
      frame.key = null
      this.#show('key', at + 1, to)
    }
    frame.key = key
    const bytes = this.#bytes
    const colon = afterWhiteSpace(bytes, key.to + 1, bytes.length)
    if (bytes[colon] !== 0x3a) throw new JsonFault('a colon is missing', colon)
    return afterWhiteSpace(bytes, colon + 1, bytes.length)
  }

  #claimName(frame: Frame, key: JsonString): void {
    const bytes = this.#bytes
    const names = this.#names
    const count = this.#nameCount
    const isShort = count - frame.namesFrom < comparedNamesMax
    if (key.escaped || !isShort || frame.names !== null) {
      frame.names ??= new Set(
        names.slice(frame.namesFrom, count).map((name) => nameOf(bytes, name)),
      )
      const name = nameOf(bytes, key)
      if (frame.names.has(name) || name === '__proto__')
        throw new JsonFault('a forbidden name', key.from)
      frame.names.add(name)
      return
    }
    for (let i = frame.namesFrom; i < count; i++) {
      if (sameBytes(bytes, names[i] as JsonString, key))
        throw new JsonFault('a name occurs twice', key.from)
    }
    if (key.to - key.from === 9 && matches(bytes, key.from, '__proto__')) {
      throw new JsonFault('a forbidden name', key.from)
    }
    if (count < names.length) names[count] = key
    else names.push(key)
    this.#nameCount++
  }

  #string(at: number): number {
    clearPrefilter(this.#seen)
    const to = readJsonString(this.#bytes, at + 1, this.#seen)
    this.#show('string', at + 1, to)
    return to + 1
  }

  #show(kind: JsonLeaf['kind'], from: number, to: number): void {
    const leaf = this.#leaf
    leaf.kind = kind
    leaf.from = from
    leaf.to = to
    leaf.escaped = this.#seen.escaped
    leaf.quiet = isQuiet(this.#seen)
    this.#visit(leaf)
  }

  #scalar(from: number): number {
    const bytes = this.#bytes
    const byte = bytes[from]
    if (byte === 0x74 && matches(bytes, from, 'true')) return from + 4
    if (byte === 0x66 && matches(bytes, from, 'false')) return from + 5
    if (byte === 0x6e && matches(bytes, from, 'null')) return from + 4
    const to = jsonNumberEnd(bytes, from)
    if (to < 0) throw new JsonFault('not JSON', from)
    const leaf = this.#leaf
    leaf.kind = 'number'
    leaf.from = from
    leaf.to = to
    leaf.escaped = false
    leaf.quiet = to - from < numberBytesMin
    this.#visit(leaf)
    return to
  }
}

function sameBytes(bytes: Uint8Array, a: JsonString, b: JsonString): boolean {
  const length = a.to - a.from
  if (length !== b.to - b.from) return false
  for (let i = 0; i < length; i++) if (bytes[a.from + i] !== bytes[b.from + i]) return false
  return true
}

function matches(bytes: Uint8Array, at: number, word: string): boolean {
  for (let i = 0; i < word.length; i++) if (bytes[at + i] !== word.charCodeAt(i)) return false
  return true
}
