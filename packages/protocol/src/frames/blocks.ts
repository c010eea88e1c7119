import { endMemory } from '../connections/arriving-bytes.ts'
import type { FrameBytes, FrameCutter, FrameFormat } from './frame.ts'

/** More would only be held for longer: a block has no meaning of its own. */
const blockBytes = 64 * 1024

/**
 * Blocks of equal size of bytes without a form. Their boundaries are the fabric's; a value could
 * lie across two of them.
 */
export const blockFrames: FrameFormat = {
  name: 'blocks',
  open: (frameBytesMax) => new BlockCutter(Math.min(blockBytes, frameBytesMax)),
  format: ({ data }) => data,
}

class BlockCutter implements FrameCutter {
  readonly #size: number
  /** Of the whole size at once: a gibibyte of blocks that grew would be several of garbage. */
  #block: Uint8Array | null = null
  #filled = 0
  #chunk: Uint8Array = new Uint8Array(0)
  #at = 0

  constructor(size: number) {
    this.#size = size
  }

  get heldBytes(): number {
    return this.#block?.length ?? 0
  }

  feed(chunk: Uint8Array): void {
    // Of which every byte was copied.
    endMemory(this.#chunk)
    this.#chunk = chunk
    this.#at = 0
  }

  take(): FrameBytes | null {
    const piece = this.#chunk.subarray(this.#at, this.#at + this.#size - this.#filled)
    if (piece.length === 0) return null
    this.#at += piece.length
    this.#block ??= new Uint8Array(this.#size)
    this.#block.set(piece, this.#filled)
    this.#filled += piece.length
    return this.#filled === this.#size ? this.#taken(this.#block) : null
  }

  end(): FrameBytes | null {
    return this.#block === null ? null : this.#taken(this.#block.subarray(0, this.#filled))
  }

  #taken(data: Uint8Array): FrameBytes {
    this.#block = null
    this.#filled = 0
    return { data }
  }
}
