import { ArrivingBytes } from './arriving-bytes.ts'

const lineFeed = 0x0a
const carriageReturn = 0x0d
const byteOrderMark = [0xef, 0xbb, 0xbf] as const

const nothing = new Uint8Array(0)

/** Lines of one block, comments included: each costs its reader more than its bytes. */
const blockLinesMax = 16_384

export interface EventBlockLimits {
  readonly bytesMax: number
  /** Returns the error to throw for a block above a limit. */
  tooLarge(what: 'bytes' | 'lines'): Error
}

/**
 * Cuts `text/event-stream` (WHATWG HTML, section 9.2.6) into its blocks: the lines between two
 * blank ones, ended by CR, LF or CRLF, behind at most one byte order mark. It works on bytes, so
 * that no chunk boundary can split a character, a line or an event, and looks for the end of a
 * block only, which is parsed once, when it is whole. Until then the block is held as bytes.
 */
export class EventBlocks {
  static readonly linesMax = blockLinesMax
  readonly #limits: EventBlockLimits
  /** The beginning of a block whose end has not arrived. */
  readonly #begun: ArrivingBytes
  #chunk: Uint8Array = nothing
  #at = 0
  #lines = 0
  #blockLines = 0
  #atLineStart = true
  // A CR ends a line at once; an LF that follows it, even in the next chunk, belongs to it.
  #afterReturn = false
  #isFirst = true

  constructor(limits: EventBlockLimits) {
    this.#limits = limits
    this.#begun = new ArrivingBytes(limits.bytesMax)
  }

  /** The bytes that a block that is not whole occupies, apart from the chunk. */
  get heldBytes(): number {
    return this.#begun.heldBytes
  }

  /** The line breaks of the block that was returned last. */
  get blockLines(): number {
    return this.#blockLines
  }

  /** To be called once `next` has returned null. */
  feed(chunk: Uint8Array): void {
    this.#chunk = chunk
    this.#at = 0
  }

  /** Returns the next block, or null when more has to arrive first. */
  next(): Uint8Array | null {
    const chunk = this.#chunk
    let start = this.#at
    for (let at = start; at < chunk.length; at++) {
      const byte = chunk[at]
      if (byte !== lineFeed && byte !== carriageReturn) {
        this.#atLineStart = false
        this.#afterReturn = false
        continue
      }
      const endsReturn = this.#afterReturn && byte === lineFeed
      this.#afterReturn = byte === carriageReturn
      if (endsReturn) {
        // The second half of a line break that has ended its line, or its block, already.
        if (at === start && this.#begun.length === 0) start = at + 1
        continue
      }
      if (!this.#atLineStart) {
        this.#atLineStart = true
        if (++this.#lines > blockLinesMax) throw this.#limits.tooLarge('lines')
        continue
      }
      const block = this.#blockUpTo(chunk, start, at)
      start = at + 1
      if (block.length === 0) {
        // A blank line is not the byte order mark, which stands before everything else.
        this.#isFirst = false
        continue
      }
      this.#at = start
      return this.#give(block)
    }
    this.#hold(chunk.subarray(start))
    this.feed(nothing)
    return null
  }

  /**
   * To be called when the stream has ended and `next` has returned null. Returns whole lines that
   * no blank line followed, 'cut' when the stream ended inside a line, and null when nothing is
   * left.
   */
  end(): Uint8Array | 'cut' | null {
    if (this.#begun.length === 0) return null
    return this.#atLineStart ? this.#give(this.#begun.take()) : 'cut'
  }

  /** Drops what was fed and not returned yet; to be called when nothing more is read. */
  drop(): void {
    this.feed(nothing)
    this.#begun.take()
  }

  /**
   * The rest of a chunk may wait for a slow reader, and must not keep the whole chunk in memory.
   */
  compact(): void {
    const left = this.#chunk.length - this.#at
    if (left > 0 && 2 * left >= this.#chunk.buffer.byteLength) return
    this.feed(left === 0 ? nothing : this.#chunk.slice(this.#at))
  }

  #blockUpTo(chunk: Uint8Array, start: number, end: number): Uint8Array {
    const part = chunk.subarray(start, end)
    if (this.#begun.length > 0) {
      this.#hold(part)
      return this.#begun.take()
    }
    if (part.length > this.#limits.bytesMax) throw this.#limits.tooLarge('bytes')
    return part
  }

  #hold(part: Uint8Array): void {
    if (part.length > 0 && !this.#begun.add(part)) throw this.#limits.tooLarge('bytes')
  }

  #give(block: Uint8Array): Uint8Array {
    this.#blockLines = this.#lines
    this.#lines = 0
    const isMarked = this.#isFirst && byteOrderMark.every((byte, at) => block[at] === byte)
    this.#isFirst = false
    return isMarked ? block.subarray(byteOrderMark.length) : block
  }
}

export type EventField = 'data' | 'event' | 'id' | 'retry'

/** Calls `visit` with each field of a block that an event can have, in order. */
export function visitEventFields(
  block: string,
  visit: (field: EventField, value: string) => void,
): void {
  for (const line of block.split(/\r\n?|\n/)) {
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    if (name !== 'data' && name !== 'event' && name !== 'id' && name !== 'retry') continue
    visit(name, colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1))
  }
}
