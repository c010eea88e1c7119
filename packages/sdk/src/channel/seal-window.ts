/**
 * Competing consumers and retries reorder; fewer bits than this would call them replays (RFC 6479).
 */
export const REPLAY_WINDOW_MIN = 1024
/** 8 KiB for each session: a retry may stay behind by this many messages of its sender. */
export const REPLAY_WINDOW_DEFAULT: number = 64 * 1024

/**
 * Tracks which sequence numbers of one session were completed: a high-water mark and a ring of bits
 * below it. Numbers below the window count as completed, because their state is lost.
 */
export class ReplayWindow {
  readonly #bits: Uint32Array
  readonly #size: number
  #highest = -1

  constructor(size: number = REPLAY_WINDOW_DEFAULT) {
    if (size < REPLAY_WINDOW_MIN || size % 32 !== 0) throw new RangeError('replay window')
    this.#bits = new Uint32Array(size / 32)
    this.#size = size
  }

  isCompleted(sequence: number): boolean {
    if (sequence > this.#highest) return false
    if (sequence <= this.#highest - this.#size) return true
    const slot = sequence % this.#size
    return ((this.#bits[slot >>> 5] ?? 0) & (1 << (slot & 31))) !== 0
  }

  complete(sequence: number): void {
    if (sequence <= this.#highest - this.#size) return
    if (sequence > this.#highest) this.#advance(sequence)
    const slot = sequence % this.#size
    this.#bits[slot >>> 5] = (this.#bits[slot >>> 5] ?? 0) | (1 << (slot & 31))
  }

  /**
   * Bits of numbers that were never seen still belong to numbers one window below: they are
   * cleared.
   */
  #advance(sequence: number): void {
    if (sequence - this.#highest >= this.#size) {
      this.#bits.fill(0)
    } else {
      for (let next = this.#highest + 1; next <= sequence; next++) {
        const slot = next % this.#size
        this.#bits[slot >>> 5] = (this.#bits[slot >>> 5] ?? 0) & ~(1 << (slot & 31))
      }
    }
    this.#highest = sequence
  }
}
