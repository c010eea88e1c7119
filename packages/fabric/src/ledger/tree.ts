import {
  consistencyRanges,
  inclusionRanges,
  type LeafRange,
  locateSubtree,
  type Subtree,
  subtreesOf,
} from '@countersign/protocol'
import { nodeHash } from './hash.ts'
import { LedgerDamage } from './store.ts'
import { type GroupIndex, GroupTree, groupEntries, PartialTile } from './tile-groups.ts'
import { emptyRoot, TileNodes } from './tile-nodes.ts'
import { hashBytes, levelWidth, tileHeight, tileLevelsMax, tileWidth } from './tiles.ts'

/** Reads the file of a tile; rejects where it is missing or of another width. */
export type ReadTile = (level: number, tile: number, width: number) => Promise<Uint8Array>

/** Reads parts of full tiles of level 0. */
export interface ReadGroups extends Pick<GroupIndex, 'find'> {
  /** The hashes of one group of a full tile, from its file; null where it is missing. */
  read(tile: number, group: number): Promise<Uint8Array | null>
}

/** 64 tiles of 16 KiB: proofs of the last 16,384 entries touch no file. */
const cachedTilesMax = 64

/** Of which each has 1 KB for a group that was read, and as much for the roots of its groups. */
const partialTilesMax = 64

/** A proof touches two tiles a level at most; the rest is room for others that load meanwhile. */
const loadsMax = 64

/**
 * The RFC 6962 tree in memory: the right edge, every full tile that is in no file yet, and a
 * bounded cache of others. Grows by `append` alone; every answer about a size that it has reached
 * stays true.
 */
export class Tree {
  #size = 0
  readonly #edge: TileNodes[] = []
  /** Full tiles that the publisher still needs; it releases them. */
  readonly #unpublished = new Map<number, TileNodes>()
  readonly #cache = new Map<number, TileNodes>()
  readonly #partials = new Map<number, PartialTile>()
  readonly #readTile: ReadTile
  #groups: ReadGroups | null = null
  /**
   * Incomplete subtrees at the right edge of one size; each proof at that size needs one of them.
   */
  #rangesSize = -1
  readonly #ranges = new Map<number, Buffer>()

  constructor(readTile: ReadTile) {
    this.#readTile = readTile
  }

  /** The tree of the first `size` leaves, from the partial tiles that its checkpoint published. */
  static async restore(size: number, readTile: ReadTile): Promise<Tree> {
    const tree = new Tree(readTile)
    tree.#size = size
    for (let level = 0; level <= tileLevelsMax; level++) {
      const hashes = levelWidth(level, size)
      if (hashes === 0) break
      const width = hashes % tileWidth
      const tile = Math.floor(hashes / tileWidth)
      tree.#edge[level] =
        width === 0 ? new TileNodes() : TileNodes.parse(await readTile(level, tile, width))
    }
    return tree
  }

  get size(): number {
    return this.#size
  }

  /** From here on, proofs of old leaves read parts of tiles where `groups` has them. */
  readGroups(groups: ReadGroups): void {
    this.#groups = groups
  }

  append(leaf: Uint8Array): void {
    this.#size += 1
    let hash = leaf
    for (let level = 0; level <= tileLevelsMax; level++) {
      const edge = (this.#edge[level] ??= new TileNodes())
      edge.push(hash)
      if (!edge.full) return
      const tile = levelWidth(level + 1, this.#size) - 1
      this.#unpublished.set(tileKey(level, tile), edge)
      this.#edge[level] = new TileNodes()
      hash = edge.node(tileHeight, 0)
    }
  }

  root(): Buffer {
    return this.#size === 0 ? emptyRoot : this.#rangeHash(0, this.#size)
  }

  /** The root that the tree had at `size` leaves. */
  async rootAt(size: number): Promise<Buffer> {
    if (size > this.#size) throw new RangeError('the tree is not that large')
    if (size === 0) return emptyRoot
    return this.#holding(subtreesOf([0, size]), () => Buffer.from(this.#rangeHash(0, size)))
  }

  /** The root over the leaves of a full tile of level 0. */
  async tileRoot(tile: number): Promise<Buffer> {
    const root = { level: tileHeight, index: tile }
    return this.#holding([root], () => Buffer.from(this.#node(root)))
  }

  /** The bytes of a tile that no file holds yet. */
  unpublishedTile(level: number, tile: number, width: number): Buffer {
    const nodes = this.#held(level, tile)
    if (nodes === undefined) throw new RangeError('the tile is not held')
    return nodes.bytes(width)
  }

  /** Full tiles that lie wholly within `size` leaves are in files now. */
  release(size: number): void {
    for (const [key, nodes] of this.#unpublished) {
      const { level, tile } = parseTileKey(key)
      if (tile >= levelWidth(level + 1, size)) continue
      this.#unpublished.delete(key)
      this.#remember(key, nodes)
    }
  }

  /** The inclusion path of leaf `index` in the tree of `size` leaves, from the leaf to the root. */
  async inclusionPath(index: number, size: number): Promise<readonly Uint8Array[]> {
    if (size > this.#size || index >= size) throw new RangeError('the tree is not that large')
    return this.#path(inclusionRanges(index, size), size)
  }

  /**
   * The proof that the tree of `newSize` leaves begins with that of `oldSize` (RFC 6962, section
   * 2.1.2). Empty if the sizes are equal, and for an empty old tree.
   */
  async consistencyPath(oldSize: number, newSize: number): Promise<readonly Uint8Array[]> {
    if (newSize > this.#size || oldSize > newSize) {
      throw new RangeError('the tree is not that large')
    }
    return this.#path(consistencyRanges(oldSize, newSize), newSize)
  }

  async #path(ranges: readonly LeafRange[], size: number): Promise<readonly Uint8Array[]> {
    return this.#holding(ranges.flatMap(subtreesOf), () =>
      ranges.map(([low, high]) =>
        high === size ? this.#edgeRange(low, size) : Buffer.from(this.#rangeHash(low, high)),
      ),
    )
  }

  async leafHash(index: number): Promise<Buffer> {
    const subtree = { level: 0, index }
    return this.#holding([subtree], () => Buffer.from(this.#node(subtree)))
  }

  /** A copy that lasts, made once for all proofs against this size. */
  #edgeRange(low: number, size: number): Buffer {
    if (this.#rangesSize !== size) {
      this.#ranges.clear()
      this.#rangesSize = size
    }
    let hash = this.#ranges.get(low)
    if (hash === undefined) {
      hash = Buffer.from(this.#rangeHash(low, size))
      this.#ranges.set(low, hash)
    }
    return hash
  }

  #rangeHash(low: number, high: number): Buffer {
    const parts = subtreesOf([low, high]).map((subtree) => this.#node(subtree))
    return parts.reduceRight((right, left) => nodeHash(left, right))
  }

  #node(subtree: Subtree): Buffer {
    const node = this.#find(subtree)
    if (node === undefined) throw new RangeError('the tile is not held')
    return node
  }

  #find(subtree: Subtree): Buffer | undefined {
    const { tileLevel, tile, height, within } = locateSubtree(subtree)
    const whole = this.#held(tileLevel, tile)
    if (whole !== undefined) return whole.node(height, within)
    return tileLevel === 0 ? this.#partials.get(tile)?.node(height, within) : undefined
  }

  #held(level: number, tile: number): TileNodes | undefined {
    const edgeTile = levelWidth(level + 1, this.#size)
    if (tile === edgeTile) return this.#edge[level]
    const key = tileKey(level, tile)
    return this.#unpublished.get(key) ?? this.#cache.get(key)
  }

  /**
   * Calls `use` in the very step in which all of the tiles are found: another proof's tiles may
   * push one of ours out in any later one, and also while we wait for the next.
   */
  async #holding<Result>(subtrees: readonly Subtree[], use: () => Result): Promise<Result> {
    for (let loads = 0; loads < loadsMax; loads++) {
      const missing = subtrees.find((subtree) => this.#find(subtree) === undefined)
      if (missing === undefined) return use()
      const { tileLevel, tile, height, within } = locateSubtree(missing)
      const group = Math.floor((within * 2 ** height) / groupEntries)
      if (tileLevel === 0 && (await this.#loadGroup(tile, group))) continue
      await this.#load(tileLevel, tile)
    }
    throw new Error('the tiles of one proof do not fit the cache')
  }

  /**
   * A tile from a file is trusted only when its root is the one in the tile above: a proof built on
   * a damaged file would not verify, and the reason would not be visible.
   */
  async #load(level: number, tile: number): Promise<void> {
    const nodes = TileNodes.parse(await this.#readTile(level, tile, tileWidth))
    const above = { level: (level + 1) * tileHeight, index: tile }
    const root = nodes.node(tileHeight, 0)
    if (!(await this.#holding([above], () => this.#node(above).equals(root)))) {
      throw new LedgerDamage(`tile ${level}/${tile} is not the one that was hashed`)
    }
    this.#remember(tileKey(level, tile), nodes)
  }

  /** As `#load`, for one group and the roots of all; false where the whole tile has to be read. */
  async #loadGroup(tile: number, group: number): Promise<boolean> {
    const groups = this.#groups
    if (groups === null) return false
    const [found, hashes] = await Promise.all([groups.find(tile), groups.read(tile, group)])
    if (found === null || hashes?.length !== groupEntries * hashBytes) return false
    const above = { level: tileHeight, index: tile }
    return this.#holding([above], () => {
      const partial = this.#partials.get(tile) ?? new PartialTile(new GroupTree(found.roots))
      const isProven = partial.node(tileHeight, 0)?.equals(this.#node(above)) === true
      if (!isProven || !partial.add(group, new GroupTree(hashes))) return false
      this.#partials.set(tile, partial)
      for (const oldest of this.#partials.keys()) {
        if (this.#partials.size <= partialTilesMax) break
        this.#partials.delete(oldest)
      }
      return true
    })
  }

  #remember(key: number, nodes: TileNodes): void {
    this.#cache.set(key, nodes)
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= cachedTilesMax) break
      this.#cache.delete(oldest)
    }
  }
}

/** Levels are few, tile numbers below 2^45. */
function tileKey(level: number, tile: number): number {
  return tile * (tileLevelsMax + 1) + level
}

function parseTileKey(key: number) {
  const level = key % (tileLevelsMax + 1)
  return { level, tile: (key - level) / (tileLevelsMax + 1) }
}
