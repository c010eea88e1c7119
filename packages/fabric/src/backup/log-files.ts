import { createHash } from 'node:crypto'
import { equalBytes } from '@countersign/protocol'
import { loadDetails } from '../ledger/check.ts'
import { checkTiles } from '../ledger/check-tiles.ts'
import { leafHash } from '../ledger/hash.ts'
import { findPublicResource } from '../ledger/resources.ts'
import { LedgerDamage, type Resource, type ResourceStore } from '../ledger/store.ts'
import {
  encodeDetails,
  hashBytes,
  levelWidth,
  parseBundle,
  type TileKind,
  tileLevelsMax,
  tilePath,
  tileWidth,
} from '../ledger/tiles.ts'
import { Tree } from '../ledger/tree.ts'

/** One file of a log. */
export interface LogFile {
  readonly kind: TileKind
  readonly tile: number
  readonly width: number
}

/** Bytes of a SHA-256 in the sums of the detail bundles. */
const sumBytes = 32

/** The length of the sums of a log of `size` entries. */
export function sumsLength(size: number): number {
  return Math.ceil(size / tileWidth) * sumBytes
}

/**
 * Every file of the log of `size` entries, of which those below `minimum` were pruned: the partial
 * ones first, which a publisher removes.
 */
export function* filesOfLog(size: number, minimum = 0): Generator<LogFile> {
  const kinds: TileKind[] = ['entries', 'detail']
  for (let level = 0; level <= tileLevelsMax; level++) kinds.push(level)
  const widthOf = (kind: TileKind) => levelWidth(typeof kind === 'number' ? kind : 0, size)
  for (const kind of kinds) {
    const width = widthOf(kind) % tileWidth
    if (width > 0) yield { kind, tile: Math.floor(widthOf(kind) / tileWidth), width }
  }
  for (const kind of kinds) {
    const first = typeof kind === 'number' ? 0 : minimum / tileWidth
    for (let tile = first; (tile + 1) * tileWidth <= widthOf(kind); tile++) {
      yield { kind, tile, width: tileWidth }
    }
  }
}

/** The files of one log, where they are read or written. */
export interface LogFolder {
  readonly resources: ResourceStore
  /** Null where the file does not exist. */
  sizeOf(path: string): Promise<number | null>
}

/** The part of the target that a complete backup had checked. */
export interface KnownPart {
  readonly size: number
  readonly sums: Uint8Array
}

export const nothingKnown: KnownPart = { size: 0, sums: new Uint8Array(0) }

/** Files and bytes of one write: bounds the memory of a copy. */
const filesPerWrite = 16
const bytesPerWrite = 8 * 1024 * 1024

/** The entries of a log that are copied. */
export interface CopiedRange {
  readonly size: number
  /** The first entry that is left; 0 where none was pruned. */
  readonly minimum: number
}

export interface CopiedLogFiles {
  /**
   * SHA-256 of each detail bundle, in order: of the details, no tree has the hashes. Zeros for one
   * that was pruned.
   */
  readonly sums: Uint8Array
  readonly copied: number
  readonly kept: number
}

/**
 * Copies the log of `size` entries. A file that never changes, and that `known` covers, stays as it
 * is if it has the size of its source. Durable on resolve.
 */
export async function copyLog(
  from: LogFolder,
  to: LogFolder,
  { size, minimum }: CopiedRange,
  known: KnownPart,
): Promise<CopiedLogFiles> {
  const sums = new Uint8Array(sumsLength(size))
  let batch: Resource[] = []
  let bytes = 0
  let copied = 0
  let kept = 0
  for (const file of filesOfLog(size, minimum)) {
    const path = tilePath(file.kind, file.tile, file.width)
    if (isKnown(file, known) && (await hasSameSize(from, to, path))) {
      if (file.kind === 'detail') sums.set(sumAt(known.sums, file.tile), file.tile * sumBytes)
      kept += 1
      continue
    }
    const resource = { path, bytes: await readLogFile(from.resources, file) }
    if (file.kind === 'detail') sums.set(sumOf(resource.bytes), file.tile * sumBytes)
    batch.push(resource)
    bytes += resource.bytes.length
    copied += 1
    if (batch.length < filesPerWrite && bytes < bytesPerWrite) continue
    await to.resources.write(batch)
    batch = []
    bytes = 0
  }
  if (batch.length > 0) await to.resources.write(batch)
  return { sums, copied, kept }
}

function isKnown({ kind, tile, width }: LogFile, known: KnownPart): boolean {
  const level = typeof kind === 'number' ? kind : 0
  return width === tileWidth && (tile + 1) * tileWidth <= levelWidth(level, known.size)
}

async function hasSameSize(from: LogFolder, to: LogFolder, path: string): Promise<boolean> {
  const size = await from.sizeOf(path)
  return size !== null && size === (await to.sizeOf(path))
}

/** A wider file begins with each partial one that the publisher has removed. */
async function readLogFile(
  resources: ResourceStore,
  { kind, tile, width }: LogFile,
): Promise<Uint8Array> {
  if (kind === 'detail') return encodeDetails(await loadDetails({ resources }, tile, width))
  const path = tilePath(kind, tile, width)
  const bytes = await findPublicResource(resources, path)
  if (bytes === null) throw new LedgerDamage(`${path} is missing`)
  return bytes
}

function sumOf(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest()
}

function sumAt(sums: Uint8Array, tile: number): Uint8Array {
  return sums.subarray(tile * sumBytes, (tile + 1) * sumBytes)
}

export interface DerivedFrom extends CopiedRange {
  readonly root: Uint8Array
  readonly sums: Uint8Array
  /** A multiple of the width of a tile; what lies below is read from the tiles alone. */
  readonly from: number
}

/**
 * Derives the root from the entries in the files, from entry `from` on, and compares every tile and
 * detail bundle on the way. Rejects with LedgerDamage on the first difference.
 */
export async function deriveLog(
  resources: ResourceStore,
  { size, minimum, root, sums, from }: DerivedFrom,
): Promise<void> {
  if (sums.length !== sumsLength(size)) {
    throw new LedgerDamage('the sums of the details are of another size')
  }
  const tree = await Tree.restore(from, (level, tile, width) =>
    readBeginning(resources, { kind: level, tile, width }, levelWidth(level, size)),
  )
  for (let first = from; first < size; first += tileWidth) {
    const width = Math.min(tileWidth, size - first)
    const tile = first / tileWidth
    if (first < minimum) {
      const hashes = await readExactly(resources, { kind: 0, tile, width })
      for (let at = 0; at < hashes.length; at += hashBytes) {
        tree.append(hashes.subarray(at, at + hashBytes))
      }
      await checkTiles(resources, tree, { first, width })
      tree.release(tree.size)
      continue
    }
    const bundle = await readExactly(resources, { kind: 'entries', tile, width })
    for (const leaf of parseBundle(bundle, width)) tree.append(leafHash(leaf))
    await checkTiles(resources, tree, { first, width })
    const details = await readExactly(resources, { kind: 'detail', tile, width })
    if (!equalBytes(sumOf(details), sumAt(sums, tile))) {
      throw new LedgerDamage(`${tilePath('detail', tile, width)} is not what was copied`)
    }
    tree.release(tree.size)
  }
  if (!equalBytes(tree.root(), root)) {
    throw new LedgerDamage('the entries do not lead to the root of the checkpoint')
  }
}

async function readExactly(
  resources: ResourceStore,
  { kind, tile, width }: LogFile,
): Promise<Uint8Array> {
  const path = tilePath(kind, tile, width)
  const bytes = await resources.read(path)
  if (bytes === null) throw new LedgerDamage(`${path} is missing`)
  return bytes
}

/** The first hashes of a tile, of which the copy may have a wider file alone. */
async function readBeginning(
  resources: ResourceStore,
  { kind, tile, width }: LogFile,
  hashesNow: number,
): Promise<Uint8Array> {
  for (const wider of [width, tileWidth, hashesNow % tileWidth]) {
    if (wider < width) continue
    const bytes = await resources.read(tilePath(kind, tile, wider))
    if (bytes?.length === wider * hashBytes) return bytes.subarray(0, width * hashBytes)
  }
  throw new LedgerDamage(`${tilePath(kind, tile, width)} is missing`)
}
