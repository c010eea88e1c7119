import { hash } from 'node:crypto'
import { timeOfExchange } from '@countersign/protocol'
import { crc32c } from '../lib/crc32c.ts'
import { LedgerDamage } from './store.ts'

/**
 * One file of the exchange index, rebuildable from the entries:
 * `header ‖ pages of (key48, position16) in ascending order ‖ changes of the open intents`.
 */
export interface SegmentHeader {
  readonly pages: number
  readonly changesBytes: number
  /** No exchange in it began later, as far as its id shows. Unix milliseconds. */
  readonly begunLast: number
  /**
   * Every intent that was open at its end has this index or a higher one; the index after its last
   * entry when none was open. Start-up reads no segment before it.
   */
  readonly openSince: number
}

/** Intents that nothing has closed, with their indexes. */
export type OpenIntents = ReadonlyMap<string, number>

/**
 * Collects how one segment changes the set of open intents. A segment states its own changes only:
 * a copy of the whole set in each segment would multiply what one client leaves open.
 */
export class OpenChanges {
  /** Opened in the segment and open at its end. */
  readonly opened = new Map<string, number>()
  /** Indexes of intents that an earlier segment opened and this one closed. */
  readonly closed: number[] = []

  open(exchange: string, index: number): void {
    this.opened.set(exchange, index)
  }

  close(exchange: string, index: number): void {
    if (!this.opened.delete(exchange)) this.closed.push(index)
  }
}

const magic = 0x43_53_49_32
export const segmentHeaderBytes = 32
export const pageBytes = 4096
const rowBytes = 8
const pageTrailerBytes = 8
export const rowsPerPage = (pageBytes - pageTrailerBytes) / rowBytes
/** Positions have 16 bits. */
export const segmentEntriesMax = 65_536

/** Uniform whatever the ids look like, so that a page is found by interpolation. */
export function exchangeKey(exchange: string): number {
  return hash('sha256', exchange, 'buffer').readUIntBE(0, 6)
}

/** Returns when an exchange began, as far as its id shows; null if it does not. */
export function begunAt(exchange: string): number | null {
  return timeOfExchange(exchange)
}

export interface Segment {
  /** The positions of the entries of an exchange, counted from the segment's first entry. */
  readonly positions: ReadonlyMap<string, readonly number[]>
  readonly changes: OpenChanges
  readonly openSince: number
}

export function encodeSegment({ positions, changes, openSince }: Segment): Buffer {
  const rows = sortedRows(positions)
  let begunLast = 0
  for (const exchange of positions.keys()) begunLast = Math.max(begunLast, begunAt(exchange) ?? 0)
  const pages = Math.ceil(rows.length / rowsPerPage)
  const lines = encodeChanges(changes)
  const bytes = Buffer.alloc(segmentHeaderBytes + pages * pageBytes + lines.length + 4)
  let at = bytes.writeUInt32BE(magic, 0)
  at = bytes.writeUInt32BE(pages, at)
  at = bytes.writeUInt32BE(lines.length, at)
  at = bytes.writeBigUInt64BE(BigInt(begunLast), at)
  at = bytes.writeBigUInt64BE(BigInt(openSince), at)
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, at)), at)
  for (let page = 0; page < pages; page++) {
    const first = page * rowsPerPage
    writePage(
      bytes,
      segmentHeaderBytes + page * pageBytes,
      rows.subarray(first, first + rowsPerPage),
    )
  }
  at = segmentHeaderBytes + pages * pageBytes
  bytes.set(lines, at)
  bytes.writeUInt32BE(crc32c(lines), at + lines.length)
  return bytes
}

/** `+<index> <exchange>` for each intent that it opens, `-<index>` for each that it closes. */
function encodeChanges({ opened, closed }: OpenChanges): Buffer {
  const lines = [...opened].map(([exchange, index]) => `+${index} ${exchange}\n`)
  for (const index of closed) lines.push(`-${index}\n`)
  return Buffer.from(lines.join(''))
}

/**
 * Key and position as one number each: numbers are sorted in a tenth of the time that pairs take.
 */
function sortedRows(positions: Segment['positions']): BigUint64Array {
  const rows: bigint[] = []
  for (const [exchange, at] of positions) {
    const key = BigInt(exchangeKey(exchange)) << 16n
    for (const position of at) rows.push(key | BigInt(position))
  }
  return new BigUint64Array(rows).sort()
}

export function writePage(bytes: Buffer, start: number, rows: BigUint64Array): void {
  const written = bytes.subarray(start, start + rows.byteLength)
  written.set(new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength))
  // Numbers in memory are little-endian on every processor that Node runs on.
  written.swap64()
  const trailer = start + pageBytes - pageTrailerBytes
  bytes.writeUInt32BE(rows.length, trailer)
  bytes.writeUInt32BE(crc32c(bytes.subarray(start, trailer + 4)), trailer + 4)
}

/** Null for a header that is torn, damaged or of another format: the segment is to be rebuilt. */
export function parseSegmentHeader(bytes: Uint8Array | null): SegmentHeader | null {
  if (bytes === null || bytes.length < segmentHeaderBytes) return null
  const buffer = Buffer.from(bytes)
  if (buffer.readUInt32BE(0) !== magic) return null
  const sumAt = segmentHeaderBytes - 4
  if (buffer.readUInt32BE(sumAt) !== crc32c(buffer.subarray(0, sumAt))) return null
  return {
    pages: buffer.readUInt32BE(4),
    changesBytes: buffer.readUInt32BE(8),
    begunLast: Number(buffer.readBigUInt64BE(12)),
    openSince: Number(buffer.readBigUInt64BE(20)),
  }
}

/**
 * Applies what follows the pages of a segment to `open`, which maps indexes to exchanges. False
 * when the bytes are damaged: the segment is to be rebuilt.
 */
export function applyChanges(
  bytes: Uint8Array | null,
  { changesBytes }: SegmentHeader,
  open: Map<number, string>,
): boolean {
  if (bytes?.length !== changesBytes + 4) return false
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const sum = crc32c(buffer.subarray(0, changesBytes))
  if (buffer.readUInt32BE(changesBytes) !== sum) return false
  for (const line of buffer.toString('latin1', 0, changesBytes).split('\n')) {
    const space = line.indexOf(' ')
    if (line.startsWith('+')) open.set(Number(line.slice(1, space)), line.slice(space + 1))
    else if (line.startsWith('-')) open.delete(Number(line.slice(1)))
  }
  return true
}

/**
 * The rows of one page with this key, and whether they may go on in the page before or after it.
 */
export interface PageAnswer {
  readonly positions: readonly number[]
  readonly before: boolean
  readonly after: boolean
}

export function searchPage(page: Uint8Array | null, key: number): PageAnswer {
  if (page?.length !== pageBytes) throw new LedgerDamage('a page of the exchange index is missing')
  const bytes = Buffer.from(page.buffer, page.byteOffset, page.length)
  const trailer = pageBytes - pageTrailerBytes
  if (bytes.readUInt32BE(trailer + 4) !== crc32c(bytes.subarray(0, trailer + 4))) {
    throw new LedgerDamage(
      'a page of the exchange index is damaged; remove the index to rebuild it',
    )
  }
  const count = bytes.readUInt32BE(trailer)
  const keyAt = (row: number) => bytes.readUIntBE(row * rowBytes, 6)
  let low = 0
  for (let high = count; low < high; ) {
    const middle = (low + high) >> 1
    if (keyAt(middle) < key) low = middle + 1
    else high = middle
  }
  const positions: number[] = []
  let row = low
  for (; row < count && keyAt(row) === key; row++) {
    positions.push(bytes.readUInt16BE(row * rowBytes + 6))
  }
  return { positions, before: low === 0, after: row === count }
}
