import { equalBytes } from '@countersign/protocol'
import { findPublicResource } from './resources.ts'
import { LedgerDamage, type ResourceStore } from './store.ts'
import {
  encodeBundle,
  levelWidth,
  type TileKind,
  tileLevelsMax,
  tilePath,
  tileWidth,
} from './tiles.ts'
import type { Tree } from './tree.ts'

/** The bundle that was just hashed into the tree. */
export interface HashedBundle {
  /** The index of its first entry. */
  readonly first: number
  readonly width: number
}

/**
 * Files are read as clients get them: while the check runs, a partial tile may give way to its full
 * one, and is then the beginning of that.
 *
 * Compares the files of every tile that the bundle completed, and at the right edge those of every
 * partial one, with the hashes that the tree derived. Resolves to how many files it compared.
 */
export async function checkTiles(
  resources: ResourceStore,
  tree: Tree,
  { first, width }: HashedBundle,
): Promise<number> {
  let tiles = 0
  for (let level = 0; level <= tileLevelsMax; level++) {
    const before = levelWidth(level, first)
    const now = levelWidth(level, first + width)
    const atEdge = width < tileWidth
    if (now % tileWidth === 0 && now > before) {
      tiles += await checkTile(resources, tree, {
        level,
        tile: now / tileWidth - 1,
        width: tileWidth,
      })
    } else if (atEdge && now % tileWidth > 0) {
      const tile = Math.floor(now / tileWidth)
      tiles += await checkTile(resources, tree, { level, tile, width: now % tileWidth })
    }
  }
  if (width < tileWidth) tiles += await checkOlderPartials(resources, tree, first + width)
  return tiles
}

/**
 * Partial files of earlier checkpoints stay until the full one exists, and readers with such a
 * checkpoint ask for them: each is the beginning of what the tree has now.
 */
async function checkOlderPartials(
  resources: ResourceStore,
  tree: Tree,
  size: number,
): Promise<number> {
  let tiles = 0
  for (let level = 0; level <= tileLevelsMax; level++) {
    const now = levelWidth(level, size)
    const tile = Math.floor(now / tileWidth)
    for (const width of await partialWidths(resources, level, tile)) {
      if (width >= now % tileWidth) continue
      tiles += await checkTile(resources, tree, { level, tile, width })
    }
  }
  return tiles
}

/** As `checkOlderPartials`, for the bundle whose entries are `bundle`. */
export async function checkOlderBundles(
  resources: ResourceStore,
  tile: number,
  bundle: readonly Uint8Array[],
): Promise<void> {
  for (const width of await partialWidths(resources, 'entries', tile)) {
    if (width >= bundle.length) continue
    const bytes = await findPublicResource(resources, tilePath('entries', tile, width))
    if (bytes === null || !equalBytes(bytes, encodeBundle(bundle.slice(0, width)))) {
      throw new LedgerDamage(`an older bundle ${tile} holds other entries`)
    }
  }
}

async function partialWidths(
  resources: ResourceStore,
  kind: TileKind,
  tile: number,
): Promise<readonly number[]> {
  const names = await resources.list(`${tilePath(kind, tile)}.p`)
  return names.filter((name) => /^[1-9][0-9]{0,2}$/.test(name)).map(Number)
}

async function checkTile(
  resources: ResourceStore,
  tree: Tree,
  { level, tile, width }: { level: number; tile: number; width: number },
): Promise<number> {
  const expected = tree.unpublishedTile(level, tile, width)
  const bytes = await findPublicResource(resources, tilePath(level, tile, width))
  if (bytes === null || !equalBytes(bytes, expected)) {
    throw new LedgerDamage(`tile ${level}/${tile} does not hold the hashes of the entries`)
  }
  return 1
}
