import { formatTileNumber, tileWidth } from '@countersign/protocol'
import { LedgerDamage } from './store.ts'

export { levelWidth, tileHeight, tileLevelsMax, tileWidth } from '@countersign/protocol'

export const hashBytes = 32

/** The three kinds of numbered files; details are ours, and private. */
export type TileKind = number | 'entries' | 'detail'

export function tilePath(kind: TileKind, tile: number, width = tileWidth): string {
  const base = kind === 'detail' ? 'detail' : `tile/${kind}`
  const path = `${base}/${formatTileNumber(tile)}`
  return width === tileWidth ? path : `${path}.p/${width}`
}

export interface TileAddress {
  readonly kind: number | 'entries'
  readonly tile: number
  readonly width: number
}

const tilePathPattern =
  /^tile\/(entries|0|[1-9][0-9]?)\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/

/** Null for everything that `tilePath` would not have written: no second name for one tile. */
export function parseTilePath(path: string): TileAddress | null {
  const match = tilePathPattern.exec(path)
  if (match === null) return null
  const [, level, digits, partial] = match
  const tile = Number((digits ?? '').replaceAll(/[x/]/g, ''))
  const width = partial === undefined ? tileWidth : Number(partial)
  const kind = level === 'entries' ? 'entries' : Number(level)
  if (!Number.isSafeInteger(tile) || (partial !== undefined && width >= tileWidth)) return null
  return tilePath(kind, tile, width) === path ? { kind, tile, width } : null
}

/** `uint16 length ‖ entry` for each (C2SP tlog-tiles). */
export function encodeBundle(entries: readonly Uint8Array[]): Buffer {
  let length = 0
  for (const entry of entries) length += 2 + entry.length
  const bytes = Buffer.allocUnsafe(length)
  let at = 0
  for (const entry of entries) {
    at = bytes.writeUInt16BE(entry.length, at)
    bytes.set(entry, at)
    at += entry.length
  }
  return bytes
}

/**
 * Exactly `count` entries and not a byte more: an appended entry must not hide in a full bundle.
 */
export function parseBundle(bytes: Uint8Array, count: number): readonly Uint8Array[] {
  const entries: Uint8Array[] = []
  let at = 0
  for (let i = 0; i < count; i++) {
    const length = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
    const end = at + 2 + length
    if (end > bytes.length) throw new LedgerDamage('an entry bundle ends early')
    entries.push(bytes.subarray(at + 2, end))
    at = end
  }
  if (at !== bytes.length) throw new LedgerDamage('bytes follow the last entry of a bundle')
  return entries
}

/**
 * Details of the same numbering: a table of `uint32` ends, then the blobs, so that one detail is
 * read without the others.
 */
export function encodeDetails(details: readonly Uint8Array[]): Buffer {
  let length = details.length * 4
  for (const detail of details) length += detail.length
  const bytes = Buffer.allocUnsafe(length)
  let end = details.length * 4
  for (const [i, detail] of details.entries()) {
    bytes.set(detail, end)
    end += detail.length
    bytes.writeUInt32BE(end, i * 4)
  }
  return bytes
}

export function parseDetails(bytes: Uint8Array, count: number): readonly Uint8Array[] {
  const details: Uint8Array[] = []
  let start = count * 4
  for (let i = 0; i < count; i++) {
    const end = detailEnd(bytes, i)
    if (end < start || end > bytes.length) throw new LedgerDamage('a detail bundle is malformed')
    details.push(bytes.subarray(start, end))
    start = end
  }
  if (start !== bytes.length) throw new LedgerDamage('bytes follow the last detail of a bundle')
  return details
}

/** Returns the location of the blob at position `at` in a bundle of `count`, from its table. */
export function findDetail(table: Uint8Array, at: number, count: number) {
  const start = at === 0 ? count * 4 : detailEnd(table, at - 1)
  const end = detailEnd(table, at)
  if (end < start) throw new LedgerDamage('a detail bundle is malformed')
  return { start, length: end - start }
}

function detailEnd(bytes: Uint8Array, at: number): number {
  if (bytes.length < at * 4 + 4) throw new LedgerDamage('a detail bundle ends early')
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at * 4)
}
