import { pairHashInto } from './hash.ts'
import { PrunedPart } from './pruned-part.ts'
import type { ResourceStore } from './store.ts'
import { hashBytes, tilePath, tileWidth } from './tiles.ts'

/** Entries of one group; a tile has 16 groups. */
export const groupEntries = 16
const groupsPerTile = tileWidth / groupEntries
const groupHeight = 4
/** Full tiles of one file: 16,384 entries. */
const tilesPerFile = 64
export const groupFileEntries = tilesPerFile * tileWidth
const endBytes = 4
/** Records in memory, of 600 bytes each. */
const recordsMax = 64
const recordBytes = groupsPerTile * (hashBytes + endBytes)

/** The places of the groups of one full tile, and the roots that prove them. */
export interface TileGroups {
  /** The roots of the groups, side by side. */
  readonly roots: Uint8Array
  /** Returns the bytes of a group in the entry bundle, as a range of positions. */
  range(group: number): readonly [start: number, end: number]
}

export interface GroupIndexParts {
  readonly resources: ResourceStore
  readonly pruned?: PrunedPart
  readonly log: (event: string, facts: Readonly<Record<string, string>>) => void
}

/**
 * For each full tile, the roots of its groups and their ends in the entry bundle, so that an old
 * entry and its path are read without the other 255. `index/groups/<n>` has those of 64 tiles; it
 * is made when a reader first needs it. Nothing here is evidence: each part is hashed up to the
 * tile above, and a part that does not lead there is left to the whole tile.
 */
export class GroupIndex {
  readonly #resources: ResourceStore
  readonly #pruned: PrunedPart
  readonly #log: (event: string, facts: Readonly<Record<string, string>>) => void
  /** Files that could not be made; the next start tries again. */
  readonly #failed = new Set<number>()
  readonly #records = new Map<number, TileGroups>()
  #building: Promise<void> | null = null
  #isStopped = false

  constructor({ resources, log, pruned = new PrunedPart() }: GroupIndexParts) {
    this.#resources = resources
    this.#pruned = pruned
    this.#log = log
  }

  /** Null where there is none, or none yet: the whole tile answers. */
  async find(tile: number): Promise<TileGroups | null> {
    const known = this.#records.get(tile)
    if (known !== undefined) return known
    const file = Math.floor(tile / tilesPerFile)
    const at = (tile % tilesPerFile) * recordBytes
    const record = await this.#resources.readPart(groupsPath(file), at, recordBytes)
    if (record?.length !== recordBytes) {
      this.#build(file)
      return null
    }
    const groups = parseRecord(record)
    this.#records.set(tile, groups)
    for (const oldest of this.#records.keys()) {
      if (this.#records.size <= recordsMax) break
      this.#records.delete(oldest)
    }
    return groups
  }

  /** Resolves when no file is being made; none is from here on. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#building
  }

  /** One file at a time; a reader that needs another one comes again. */
  #build(file: number): void {
    if (this.#isStopped || this.#building !== null || this.#failed.has(file)) return
    // The bundles that it would be made from are gone.
    if (file * groupFileEntries < this.#pruned.minimum) return
    this.#building = this.#write(file)
      .catch((cause: unknown) => {
        this.#failed.add(file)
        this.#log('a part of the index of the ledger is not stored', { error: String(cause) })
      })
      .finally(() => {
        this.#building = null
      })
  }

  async #write(file: number): Promise<void> {
    const first = file * tilesPerFile
    const last = tilePath('entries', first + tilesPerFile - 1)
    if ((await this.#resources.readPart(last, 0, 1)) === null) return
    const records: Uint8Array[] = []
    for (let tile = first; tile < first + tilesPerFile && !this.#isStopped; tile++) {
      const hashes = await this.#resources.read(tilePath(0, tile))
      const bundle = await this.#resources.read(tilePath('entries', tile))
      if (hashes === null || bundle === null) throw new Error(`tile ${tile} is missing`)
      records.push(encodeRecord(hashes, bundle))
    }
    if (this.#isStopped) return
    await this.#resources.write([{ path: groupsPath(file), bytes: Buffer.concat(records) }])
  }
}

export function groupsPath(file: number): string {
  return `index/groups/${file}`
}

function encodeRecord(hashes: Uint8Array, bundle: Uint8Array): Buffer {
  const record = Buffer.alloc(recordBytes)
  let end = 0
  for (let group = 0; group < groupsPerTile; group++) {
    const first = group * groupEntries * hashBytes
    const tree = new GroupTree(hashes.subarray(first, first + groupEntries * hashBytes))
    record.set(tree.node(groupHeight, 0), group * hashBytes)
    for (let i = 0; i < groupEntries; i++) {
      end += 2 + (((bundle[end] ?? 0) << 8) | (bundle[end + 1] ?? 0))
    }
    record.writeUInt32BE(end, groupsPerTile * hashBytes + group * endBytes)
  }
  return record
}

function parseRecord(record: Uint8Array): TileGroups {
  const { buffer, byteOffset } = record
  const ends = new DataView(buffer, byteOffset + groupsPerTile * hashBytes)
  const endOf = (group: number): number => (group < 0 ? 0 : ends.getUint32(group * endBytes))
  return {
    roots: record.subarray(0, groupsPerTile * hashBytes),
    range: (group) => [endOf(group - 1), endOf(group)],
  }
}

/** The offset at which each height of a tree of 16 begins, in hashes. */
const heightStart = [0, 16, 24, 28, 30]

/** A complete tree over 16 hashes. */
export class GroupTree {
  readonly #nodes = Buffer.allocUnsafeSlow(31 * hashBytes)

  /** Throws a RangeError unless there are 16 hashes. */
  constructor(hashes: Uint8Array) {
    if (hashes.length !== groupEntries * hashBytes) throw new RangeError('a group has 16 hashes')
    this.#nodes.set(hashes)
    for (let node = 16; node < 31; node++) {
      pairHashInto(this.#nodes, node * hashBytes, this.#nodes, (node - 16) * 2 * hashBytes)
    }
  }

  /** The root of the complete subtree `index` of `height` 0 to 4. Not a copy. */
  node(height: number, index: number): Buffer {
    const at = ((heightStart[height] ?? 0) + index) * hashBytes
    return this.#nodes.subarray(at, at + hashBytes)
  }
}

/** The parts of a full tile that were read, each of them proven. */
export class PartialTile {
  /** Over the roots of the groups. */
  readonly #top: GroupTree
  readonly #groups = new Map<number, GroupTree>()

  constructor(top: GroupTree) {
    this.#top = top
  }

  /** Adds a group; false when it does not lead to its root. */
  add(group: number, tree: GroupTree): boolean {
    if (!tree.node(groupHeight, 0).equals(this.#top.node(0, group))) return false
    this.#groups.set(group, tree)
    return true
  }

  /** As `TileNodes.node`; undefined for a node of a group that was not read. */
  node(height: number, index: number): Buffer | undefined {
    if (height >= groupHeight) return this.#top.node(height - groupHeight, index)
    const within = 2 ** (groupHeight - height)
    return this.#groups.get(Math.floor(index / within))?.node(height, index % within)
  }
}
