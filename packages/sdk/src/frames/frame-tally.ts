import { createHash } from 'node:crypto'
import { TranscriptHash } from '@countersign/protocol'

/** The frames of one direction, as a party keeps them for the comparison with a receipt. */
export interface FrameRecord {
  /** SHA-256 over `u32 length ‖ frame` of each frame, 32 bytes. */
  readonly digest: Uint8Array
  readonly frames: number
  /** Of the frames alone, without the bytes between them. */
  readonly bytes: number
}

/**
 * Counts and hashes frames as they pass. Of a request, the records before each of the last
 * `recentMax` frames are kept, because an exchange that ends early has a receipt of the first ones.
 */
export class FrameTally {
  readonly #hash = new TranscriptHash(createHash('sha256'))
  readonly #recent: FrameRecord[] = []
  readonly #recentMax: number
  #frames = 0
  #bytes = 0

  constructor(recentMax = 0) {
    this.#recentMax = recentMax
  }

  add(frame: Uint8Array): void {
    if (this.#recentMax > 0) this.#recent[this.#frames % this.#recentMax] = this.record()
    this.#hash.add(frame)
    this.#frames += 1
    this.#bytes += frame.length
  }

  record(): FrameRecord {
    return { digest: this.#hash.digest(), frames: this.#frames, bytes: this.#bytes }
  }

  /** The record of the first frames, so many of them; null where it is not kept any more. */
  recordOfFirst(frames: number): FrameRecord | null {
    if (frames === this.#frames) return this.record()
    const isKept = frames < this.#frames && frames >= this.#frames - this.#recentMax
    return isKept ? (this.#recent[frames % this.#recentMax] ?? null) : null
  }
}
