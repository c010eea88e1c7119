import { endMemory } from '@countersign/protocol'
import type { Frame, FrameCodec, FrameCutter } from '../../pipeline/frames.ts'

/** More would only be held for longer: a block has no meaning of its own. */
export const blockBytes: number = 64 * 1024

/**
 * Blocks of equal size of bytes without a form. Their boundaries are the fabric's; a value could
 * lie across two of them.
 */
export const blocks: FrameCodec = {
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

  take(): Frame | null {
    const piece = this.#chunk.subarray(this.#at, this.#at + this.#size - this.#filled)
    if (piece.length === 0) return null
    this.#at += piece.length
    this.#block ??= new Uint8Array(this.#size)
    this.#block.set(piece, this.#filled)
    this.#filled += piece.length
    return this.#filled === this.#size ? this.#taken(this.#block) : null
  }

  end(): Frame | null {
    return this.#block === null ? null : this.#taken(this.#block.subarray(0, this.#filled))
  }

  #taken(data: Uint8Array): Frame {
    this.#block = null
    this.#filled = 0
    return { data, contentType: null }
  }
}
