import { ArrivingBytes } from '@countersign/protocol'
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
  readonly #block: ArrivingBytes
  #chunk: Uint8Array = new Uint8Array(0)
  #at = 0

  constructor(size: number) {
    this.#size = size
    this.#block = new ArrivingBytes(size)
  }

  get heldBytes(): number {
    return this.#block.heldBytes
  }

  feed(chunk: Uint8Array): void {
    this.#chunk = chunk
    this.#at = 0
  }

  take(): Frame | null {
    const piece = this.#chunk.subarray(this.#at, this.#at + this.#size - this.#block.length)
    this.#at += piece.length
    if (piece.length > 0) this.#block.add(piece)
    return this.#block.length === this.#size ? this.#taken() : null
  }

  end(): Frame | null {
    return this.#block.length === 0 ? null : this.#taken()
  }

  #taken(): Frame {
    return { data: this.#block.take(), contentType: null }
  }
}
