import { hash } from 'node:crypto'
import { timeOfId } from '@countersign/protocol'
import { crc32c } from '../lib/crc32c.ts'
import { LedgerDamage } from './store.ts'

/**
 * One file of the exchange index, rebuildable from the entries:
 * `header ‖ pages of (key48, position16) in ascending order ‖ the intents open at its end`.
 */
export interface SegmentHeader {
  readonly pages: number
  readonly openBytes: number
  /** No exchange in it began later, as far as its id tells. Unix milliseconds. */
  readonly begunLast: number
}

/** An intent that nothing had closed when the segment ended. */
export type OpenIntents = ReadonlyMap<string, number>

const magic = 0x43_53_49_59
export const segmentHeaderBytes = 24
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

/** When an exchange began, as far as its id tells; null where it does not. */
export function begunAt(exchange: string): number | null {
  return timeOfId('dec', exchange)
}

export interface Segment {
  /** Where the entries of an exchange stand, counted from the segment's first entry. */
  readonly positions: ReadonlyMap<string, readonly number[]>
  readonly open: OpenIntents
}

export function encodeSegment({ positions, open }: Segment): Buffer {
  const rows = sortedRows(positions)
  let begunLast = 0
  for (const exchange of positions.keys()) begunLast = Math.max(begunLast, begunAt(exchange) ?? 0)
  const pages = Math.ceil(rows.length / rowsPerPage)
  const names = Buffer.from([...open].map(([exchange, index]) => `${index} ${exchange}\n`).join(''))
  const bytes = Buffer.alloc(segmentHeaderBytes + pages * pageBytes + names.length + 4)
  let at = bytes.writeUInt32BE(magic, 0)
  at = bytes.writeUInt32BE(pages, at)
  at = bytes.writeUInt32BE(names.length, at)
  at = bytes.writeBigUInt64BE(BigInt(begunLast), at)
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
  bytes.set(names, at)
  bytes.writeUInt32BE(crc32c(names), at + names.length)
  return bytes
}

/** Key and position as one number each: numbers are sorted in a tenth of the time that pairs take. */
function sortedRows(positions: Segment['positions']): BigUint64Array {
  const rows: bigint[] = []
  for (const [exchange, at] of positions) {
    const key = BigInt(exchangeKey(exchange)) << 16n
    for (const position of at) rows.push(key | BigInt(position))
  }
  return new BigUint64Array(rows).sort()
}

function writePage(bytes: Buffer, start: number, rows: BigUint64Array): void {
  for (const [row, value] of rows.entries()) bytes.writeBigUInt64BE(value, start + row * rowBytes)
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
    openBytes: buffer.readUInt32BE(8),
    begunLast: Number(buffer.readBigUInt64BE(12)),
  }
}

/** `bytes` is what follows the pages; null as for the header. */
export function parseOpenIntents(
  bytes: Uint8Array | null,
  { openBytes }: SegmentHeader,
): Map<string, number> | null {
  if (bytes?.length !== openBytes + 4) return null
  const buffer = Buffer.from(bytes)
  if (buffer.readUInt32BE(openBytes) !== crc32c(buffer.subarray(0, openBytes))) return null
  const open = new Map<string, number>()
  for (const line of buffer.toString('latin1', 0, openBytes).split('\n')) {
    const space = line.indexOf(' ')
    if (space > 0) open.set(line.slice(space + 1), Number(line.slice(0, space)))
  }
  return open
}

/** The rows of one page with this key, and whether they may go on in the page before or after it. */
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
