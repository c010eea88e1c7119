import { equalBytes } from '../encoding/bytes.ts'
import { sha256 } from '../signatures/web-crypto.ts'
import { type ConsistencyProof, type InclusionProof, nodeInput } from './merkle.ts'
import type { Checkpoint } from './note.ts'
import {
  consistencyRanges,
  formatTileNumber,
  inclusionRanges,
  type LeafRange,
  levelWidth,
  locateSubtree,
  subtreesOf,
  tileHeight,
  tileLevelsMax,
  tileWidth,
} from './tile-layout.ts'

/**
 * Reads one tile of a log, such as `tile/0/x001/067` or `tile/1/000.p/17` (C2SP tlog-tiles),
 * relative to the address or folder of the log. The tile has exactly `bytes` bytes, 8,192 at most;
 * a reader needs to accept no more. A rejection ends the proof and is passed on.
 */
export type ReadLogTile = (path: string, bytes: number) => Promise<Uint8Array>

/** A tile that does not lead to the root of the checkpoint, or is not of its width. */
export class TileError extends Error {
  override readonly name = 'TileError'
  /** As `ReadLogTile` received it; empty when the tiles do not lead to the root together. */
  readonly path: string

  constructor(path: string, message: string) {
    super(message)
    this.path = path
  }
}

/** Tiles that one proof reads: in each level that of the right edge, and one on the way to it. */
export const proofTilesMax = 2 * (tileLevelsMax + 1)

const hashBytes = 32

/**
 * Returns the proof that the log of `checkpoint` has the leaf at `index`, from its tiles alone.
 * The leaf hash is that of the log; the caller compares it with its own entry. Throws a TileError
 * if a tile is not the one that the checkpoint signs, and a RangeError if the log has no such leaf.
 */
export async function proveInclusion(
  index: number,
  { size, root }: Checkpoint,
  readTile: ReadLogTile,
): Promise<InclusionProof> {
  if (!isSize(size) || !isSize(index) || index >= size)
    throw new RangeError('the index is beyond the tree')
  const tiles = await VerifiedTiles.open(size, root, readTile)
  const leafHash = await tiles.root([index, index + 1])
  return { leafHash, index, size, root, path: await tiles.path(inclusionRanges(index, size)) }
}

/**
 * Returns the consistency proof between two checkpoints from the tiles of the newer one. Each tile
 * is verified against the root of the newer one before it is used. A proof that `verifyConsistency`
 * refuses therefore shows two histories, and never a damaged tile.
 *
 * Throws a TileError if a tile is not the one that the newer checkpoint signs, and a RangeError if
 * the older checkpoint is the larger one.
 */
export async function proveConsistency(
  older: Checkpoint,
  newer: Checkpoint,
  readTile: ReadLogTile,
): Promise<ConsistencyProof> {
  if (!isSize(older.size) || !isSize(newer.size) || older.size > newer.size) {
    throw new RangeError('the older checkpoint is the larger one')
  }
  const ranges = consistencyRanges(older.size, newer.size)
  const ends = {
    oldSize: older.size,
    oldRoot: older.root,
    newSize: newer.size,
    newRoot: newer.root,
  }
  if (ranges.length === 0) return { ...ends, path: [] }
  const tiles = await VerifiedTiles.open(newer.size, newer.root, readTile)
  return { ...ends, path: await tiles.path(ranges) }
}

/** Rows of hashes: those of the tile, then the nodes above them up to the root of a full tile. */
type Rows = readonly (readonly Uint8Array[])[]

/** The tree of one checkpoint. Holds only tiles that lead to its root. */
class VerifiedTiles {
  readonly #readTile: ReadLogTile
  readonly #tiles = new Map<string, Rows>()
  #reads = 0

  private constructor(readTile: ReadLogTile) {
    this.#readTile = readTile
  }

  /** Reads the right edge, which makes the root, so that every other tile has a verified parent. */
  static async open(size: number, root: Uint8Array, readTile: ReadLogTile): Promise<VerifiedTiles> {
    const tiles = new VerifiedTiles(readTile)
    for (let level = 0; levelWidth(level, size) > 0; level++) {
      const hashes = levelWidth(level, size)
      const width = hashes % tileWidth
      if (width === 0) continue
      const tile = Math.floor(hashes / tileWidth)
      tiles.#tiles.set(tilePath(level, tile), await tiles.#read(level, tile, width))
    }
    if (!equalBytes(await tiles.root([0, size]), root)) {
      throw new TileError('', 'the tiles do not lead to the root of the checkpoint')
    }
    return tiles
  }

  async path(ranges: readonly LeafRange[]): Promise<readonly Uint8Array[]> {
    const path: Uint8Array[] = []
    for (const range of ranges) path.push(await this.root(range))
    return path
  }

  async root(range: LeafRange): Promise<Uint8Array> {
    let root: Uint8Array | null = null
    for (const subtree of subtreesOf(range).toReversed()) {
      const { tileLevel, tile, height, within } = locateSubtree(subtree)
      const node = nodeOf(await this.#rows(tileLevel, tile), height, within)
      root = root === null ? node : await sha256(nodeInput(node, root))
    }
    if (root === null) throw new RangeError('the range is empty')
    return root
  }

  /** A tile that is full, by its root in the tile above; recursion ends at the right edge. */
  async #rows(level: number, tile: number): Promise<Rows> {
    const path = tilePath(level, tile)
    const known = this.#tiles.get(path)
    if (known !== undefined) return known
    const above = locateSubtree({ level: (level + 1) * tileHeight, index: tile })
    const parent = await this.#rows(above.tileLevel, above.tile)
    const rows = await this.#read(level, tile, tileWidth)
    if (!equalBytes(nodeOf(rows, tileHeight, 0), nodeOf(parent, above.height, above.within))) {
      throw new TileError(path, 'the tile is not the one that the checkpoint signs')
    }
    this.#tiles.set(path, rows)
    return rows
  }

  async #read(level: number, tile: number, width: number): Promise<Rows> {
    const path = width === tileWidth ? tilePath(level, tile) : `${tilePath(level, tile)}.p/${width}`
    this.#reads += 1
    if (this.#reads > proofTilesMax) throw new TileError(path, 'a proof reads fewer tiles')
    const read: unknown = await this.#readTile(path, width * hashBytes)
    if (!(read instanceof Uint8Array)) throw new TileError(path, 'the tile is not a byte array')
    if (read.length !== width * hashBytes) {
      throw new TileError(path, `the tile has ${read.length} bytes, not ${width * hashBytes}`)
    }
    // A copy, because a reader may put the next tile into the same memory after this one verified.
    const bytes = new Uint8Array(read)
    let row: readonly Uint8Array[] = Array.from({ length: width }, (_, i) =>
      bytes.subarray(i * hashBytes, (i + 1) * hashBytes),
    )
    const rows: Rows[number][] = [row]
    for (let height = 1; height <= tileHeight; height++) {
      const above: Uint8Array[] = []
      for (let at = 0; at + 1 < row.length; at += 2) {
        above.push(await sha256(nodeInput(hashAt(row, at), hashAt(row, at + 1))))
      }
      rows.push(above)
      row = above
    }
    return rows
  }
}

function tilePath(level: number, tile: number): string {
  return `tile/${level}/${formatTileNumber(tile)}`
}

function nodeOf(rows: Rows, height: number, within: number): Uint8Array {
  return hashAt(rows[height] ?? [], within)
}

function hashAt(row: readonly Uint8Array[], at: number): Uint8Array {
  const hash = row[at]
  if (hash === undefined) throw new RangeError('the tile has no such node')
  return hash
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}
