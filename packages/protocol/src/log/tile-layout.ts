/** Hashes of a full tile, and entries of a full bundle (C2SP tlog-tiles). */
export const tileWidth = 256
export const tileHeight = 8

/** 256^6 leaves are beyond 2^47; a JavaScript integer ends at 2^53. */
export const tileLevelsMax = 6

/** Returns the number of hashes that level `level` of tiles holds for a tree of `size` leaves. */
export function levelWidth(level: number, size: number): number {
  return Math.floor(size / tileWidth ** level)
}

/** `x001/x234/067`: groups of three digits, all but the last marked (C2SP tlog-tiles). */
export function formatTileNumber(tile: number): string {
  let path = String(tile % 1000).padStart(3, '0')
  for (let rest = Math.floor(tile / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${String(rest % 1000).padStart(3, '0')}/${path}`
  }
  return path
}

/** A complete subtree: the node `index` at `level` above the leaves. */
export interface Subtree {
  readonly level: number
  readonly index: number
}

/** Leaves from the first number up to, and without, the second. */
export type LeafRange = readonly [low: number, high: number]

/**
 * Returns the ranges whose roots are the inclusion path of leaf `index`, from the leaf to the root
 * (RFC 6962, section 2.1.1).
 */
export function inclusionRanges(index: number, size: number): readonly LeafRange[] {
  const ranges: LeafRange[] = []
  let low = 0
  let high = size
  while (high - low > 1) {
    const middle = low + largestPowerBelow(high - low)
    if (index < middle) {
      ranges.push([middle, high])
      high = middle
    } else {
      ranges.push([low, middle])
      low = middle
    }
  }
  return ranges.reverse()
}

/**
 * Returns the ranges whose roots are the consistency path between two sizes (RFC 6962, section
 * 2.1.2); none for an empty old tree, which is the beginning of every other.
 */
export function consistencyRanges(oldSize: number, newSize: number): readonly LeafRange[] {
  const ranges: LeafRange[] = []
  if (oldSize === 0) return ranges
  let low = 0
  let high = newSize
  while (oldSize < high) {
    const middle = low + largestPowerBelow(high - low)
    if (oldSize <= middle) {
      ranges.push([middle, high])
      high = middle
    } else {
      ranges.push([low, middle])
      low = middle
    }
  }
  // A verifier has the root of the old tree; it lacks that of the old tree's right part.
  if (low > 0) ranges.push([low, high])
  return ranges.reverse()
}

/**
 * Returns the complete subtrees that a range falls into, left to right. The root of the range is
 * the hash of them from the right; `low` is aligned as the ranges of proofs are.
 */
export function subtreesOf([low, high]: LeafRange): readonly Subtree[] {
  const subtrees: Subtree[] = []
  for (let at = low; at < high; ) {
    let level = 0
    // Multiplication, because shifts end at 31 bits.
    while (at % 2 ** (level + 1) === 0 && at + 2 ** (level + 1) <= high) level++
    subtrees.push({ level, index: at / 2 ** level })
    at += 2 ** level
  }
  return subtrees
}

function largestPowerBelow(count: number): number {
  let power = 1
  while (power * 2 < count) power *= 2
  return power
}

/**
 * Returns the tile that holds a subtree, and the place of its root: `height` above the hashes of
 * the tile, and `within` the row of that height.
 */
export function locateSubtree({ level, index }: Subtree) {
  const height = level % tileHeight
  const first = index * 2 ** height
  const tile = Math.floor(first / tileWidth)
  const within = index - (tile * tileWidth) / 2 ** height
  return { tileLevel: (level - height) / tileHeight, tile, height, within }
}
