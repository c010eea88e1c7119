import { jsonNumberEnd } from '../text/json-number.ts'
import { afterWhiteSpace } from '../text/json-white-space.ts'

/** Receives each name, string (without quotes) and number with its place in the text. */
export type VisitToken = (
  kind: 'key' | 'string' | 'number',
  token: { from: number; to: number; escaped: boolean },
) => void

export const depthMax = 64

const LITERALS = ['true', 'false', 'null'].map((word) => new TextEncoder().encode(word))

/**
 * Reads the JSON array or object that begins at `from`, if there is one (RFC 8259, without the
 * rules of RFC 7493 that lenient receivers do not have). Reports where reading stopped instead of
 * throwing: in text that is made for it, almost every byte is a fault.
 */
export class JsonReader {
  readonly #bytes: Uint8Array
  readonly #visit: VisitToken
  /** True for each open container that is an object. */
  readonly #open: boolean[] = []
  #at = 0

  constructor(bytes: Uint8Array, visit: VisitToken) {
    this.#bytes = bytes
    this.#visit = visit
  }

  /**
   * The offset where reading stopped: behind the last bracket, or at the first byte that does not
   * belong.
   */
  get at(): number {
    return this.#at
  }

  /** Reports whether the text is JSON from the first bracket to the last. */
  read(from: number): boolean {
    this.#open.length = 0
    this.#at = from
    let isFirst = false
    for (;;) {
      const depth = this.#open.length
      const isClosed = isFirst && this.#close()
      if (!isClosed) {
        if (this.#open.at(-1) === true && !this.#name()) return false
        if (!this.#value()) return false
      }
      isFirst = this.#open.length > depth
      if (isFirst) continue
      while (this.#open.length > 0 && this.#close());
      if (this.#open.length === 0) return true
      if (!this.#skip(0x2c)) return false
    }
  }

  /** Closes the innermost container, if its bracket comes next. */
  #close(): boolean {
    if (!this.#skip(this.#open.at(-1) === true ? 0x7d : 0x5d)) return false
    this.#open.pop()
    return true
  }

  #skip(byte: number): boolean {
    this.#blank()
    if (this.#bytes[this.#at] !== byte) return false
    this.#at++
    return true
  }

  #blank(): void {
    this.#at = afterWhiteSpace(this.#bytes, this.#at, this.#bytes.length)
  }

  #name(): boolean {
    this.#blank()
    return this.#string('key') && this.#skip(0x3a)
  }

  #value(): boolean {
    this.#blank()
    const byte = this.#bytes[this.#at]
    if (byte === 0x7b || byte === 0x5b) {
      if (this.#open.length >= depthMax) return false
      this.#open.push(byte === 0x7b)
      this.#at++
      return true
    }
    return byte === 0x22 ? this.#string('string') : this.#literal() || this.#number()
  }

  #string(kind: 'key' | 'string'): boolean {
    const bytes = this.#bytes
    if (bytes[this.#at] !== 0x22) return false
    const from = this.#at + 1
    let escaped = false
    let i = from
    for (; i < bytes.length && bytes[i] !== 0x22; i++) {
      if (bytes[i] !== 0x5c) continue
      escaped = true
      i++
    }
    this.#at = i + 1
    if (i >= bytes.length) return false
    this.#visit(kind, { from, to: i, escaped })
    return true
  }

  #literal(): boolean {
    const word = LITERALS.find((each) =>
      each.every((byte, i) => this.#bytes[this.#at + i] === byte),
    )
    if (word !== undefined) this.#at += word.length
    return word !== undefined
  }

  #number(): boolean {
    const to = jsonNumberEnd(this.#bytes, this.#at)
    if (to < 0) return false
    this.#visit('number', { from: this.#at, to, escaped: false })
    this.#at = to
    return true
  }
}
