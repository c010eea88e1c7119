/**
 * Bytes that arrive in pieces of the sender's choosing, held as one. A piece that is kept costs
 * some 200 bytes besides its own, so a sender of single bytes would take up 200 times its limit.
 * Held like this, no cut takes more than about twice what was sent.
 */
export class ArrivingBytes {
  readonly #bytesMax: number
  /**
   * Longer than the bytes that have come, except for a first piece: that is not ours to write to.
   */
  #held: Uint8Array = new Uint8Array(0)
  #length = 0
  #isBorrowed = false

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get length(): number {
    return this.#length
  }

  /** The bytes occupied, up to twice the bytes that came. */
  get heldBytes(): number {
    return this.#held.length
  }

  /** True while the bytes held are in the memory of the piece that came, and not in a copy. */
  get isBorrowed(): boolean {
    return this.#isBorrowed
  }

  /** False once more than `bytesMax` have come; from then on nothing is held. */
  add(piece: Uint8Array): boolean {
    const at = this.#length
    this.#length += piece.length
    if (this.#length > this.#bytesMax) {
      this.#held = new Uint8Array(0)
      this.#isBorrowed = false
      return false
    }
    // Most bodies are one piece, and need no copy, or one of their own length.
    if (at === 0) {
      this.#isBorrowed = fillsItsMemory(piece)
      this.#held = this.#isBorrowed ? piece : new Uint8Array(piece)
      return true
    }
    if (this.#length > this.#held.length) this.#grow(at)
    this.#held.set(piece, at)
    return true
  }

  /** Returns the bytes that have come so far. The next piece begins anew. */
  take(): Uint8Array {
    const isFull = this.#held.length === this.#length
    const whole = isFull ? this.#held : this.#held.subarray(0, this.#length)
    this.#held = new Uint8Array(0)
    this.#length = 0
    this.#isBorrowed = false
    return whole
  }

  /** Doubled, so that each byte is moved about twice, however many pieces there are. */
  #grow(filled: number): void {
    const doubled = Math.min(2 * this.#held.length, this.#bytesMax)
    const wider = new Uint8Array(Math.max(doubled, this.#length))
    wider.set(this.#held.subarray(0, filled))
    if (!this.#isBorrowed) endMemory(this.#held)
    this.#held = wider
    this.#isBorrowed = false
  }
}

/**
 * A view keeps all of its memory alive: one byte may hold a whole read of 64 KiB that is not
 * counted.
 */
function fillsItsMemory({ length, buffer }: Uint8Array): boolean {
  return 2 * length >= buffer.byteLength
}

/**
 * Gives the memory of bytes back at once that nothing reads any longer. Buffers are freed by the
 * garbage collector, which counts their small headers and falls behind on a busy machine: a
 * gibibyte that passes in pieces of 16 KiB leaves some 100 MiB waiting for it.
 *
 * The caller must own `bytes`, and no write of them may be pending: the operating system would read
 * freed memory. Bytes that share their memory with others stay as they are.
 */
export function endMemory({ buffer, byteLength }: Uint8Array): void {
  if (byteLength === 0 || byteLength !== buffer.byteLength) return
  if (buffer instanceof ArrayBuffer) buffer.transfer(0)
}
