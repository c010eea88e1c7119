import { sha256Into } from '../lib/sha256.ts'
import { pairHashInto } from './hash.ts'
import { hashBytes, tileHeight, tileWidth } from './tiles.ts'

/** The offset at which each height of the small tree inside a tile begins, in hashes. */
const heightStart = [0, 256, 384, 448, 480, 496, 504, 508, 510]
const nodesMax = 511

/**
 * One tile with the inner nodes that its file leaves out, so that a proof is a copy and not 255
 * hashes. Holds complete subtrees only; those never change, so readers need no lock.
 */
export class TileNodes {
  readonly #nodes: Buffer
  #width = 0

  constructor() {
    this.#nodes = Buffer.allocUnsafeSlow(nodesMax * hashBytes)
  }

  /** The hashes of the file at a width of its own up to 256, inner nodes recomputed. */
  static parse(bytes: Uint8Array): TileNodes {
    const tile = new TileNodes()
    for (let at = 0; at < bytes.length; at += hashBytes)
      tile.push(bytes.subarray(at, at + hashBytes))
    return tile
  }

  get full(): boolean {
    return this.#width === tileWidth
  }

  push(hash: Uint8Array): void {
    if (this.full) throw new RangeError('the tile is full')
    this.#nodes.set(hash, this.#width * hashBytes)
    this.#width += 1
    let index = this.#width
    for (let height = 1; height <= tileHeight && index % 2 === 0; height++) {
      index /= 2
      const from = (heightStart[height - 1] ?? 0) + 2 * (index - 1)
      const to = (heightStart[height] ?? 0) + index - 1
      pairHashInto(this.#nodes, to * hashBytes, this.#nodes, from * hashBytes)
    }
  }

  /** The root of the complete subtree `index` of `height` 0 to 8 in this tile. Not a copy. */
  node(height: number, index: number): Buffer {
    if ((index + 1) * 2 ** height > this.#width) throw new RangeError('the subtree is incomplete')
    const at = ((heightStart[height] ?? 0) + index) * hashBytes
    return this.#nodes.subarray(at, at + hashBytes)
  }

  /** The content of the tile's file for its first `width` hashes. Not a copy. */
  bytes(width: number): Buffer {
    if (width > this.#width) throw new RangeError('the tile is not that wide')
    return this.#nodes.subarray(0, width * hashBytes)
  }
}

/** The root of the empty tree (RFC 6962, section 2.1). */
export const emptyRoot: Buffer = Buffer.alloc(hashBytes)
sha256Into(emptyRoot, 0, new Uint8Array(0))
