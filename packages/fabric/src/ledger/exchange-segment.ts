import { hash } from 'node:crypto'
import { timeOfExchange } from '@countersign/protocol'
import { crc32c } from '../lib/crc32c.ts'
import { encodeFilter } from './exchange-filter.ts'
import { LedgerDamage } from './store.ts'

/**
 * One file of the exchange index, rebuildable from the entries: `header ‖ filter of the keys ‖
 * pages of (key48, position16) in ascending order ‖ changes of the open intents`.
 */
export interface SegmentHeader {
  readonly filterBytes: number
  readonly pages: number
  readonly changesBytes: number
  /**
   * The earliest and the latest start of an exchange in it, as its id shows; 0 for an id that shows
   * none. Unix milliseconds.
   */
  readonly begunFirst: number
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

const magic = 0x43_53_49_33
export const segmentHeaderBytes = 44
const sumBytes = 4
export const pageBytes = 4096
const rowBytes = 8
const keyBytes = 6
const pageTrailerBytes = 8
export const rowsPerPage = (pageBytes - pageTrailerBytes) / rowBytes
/** Positions have 16 bits. */
export const segmentEntriesMax = 65_536

/** Uniform whatever the ids look like, so that a page is found by interpolation. */
export function exchangeKey(exchange: string): number {
  // A binary string costs a third of what a Buffer does.
  const digest = hash('sha256', exchange, 'binary')
  let key = 0
  for (let i = 0; i < keyBytes; i++) key = key * 256 + digest.charCodeAt(i)
  return key
}

/** Returns when an exchange began, as its id shows; 0 for an id that shows no time. */
export function begunAt(exchange: string): number {
  return timeOfExchange(exchange) ?? 0
}

/** The position of the first page in the file. */
export function pagesAt({ filterBytes }: SegmentHeader): number {
  return segmentHeaderBytes + filterBytes + sumBytes
}

/** The position of the changes in the file, and their length with the checksum. */
export function changesAt(header: SegmentHeader): { position: number; length: number } {
  const position = pagesAt(header) + header.pages * pageBytes
  return { position, length: header.changesBytes + sumBytes }
}

export interface Segment {
  /** Each exchange once, with the positions of its entries, from the segment's first entry on. */
  readonly exchanges: Iterable<readonly [exchange: string, positions: readonly number[]]>
  readonly changes: OpenChanges
  readonly openSince: number
}

export function encodeSegment({ exchanges, changes, openSince }: Segment): Buffer {
  const { rows, keys, begunFirst, begunLast } = collect(exchanges)
  const filter = encodeFilter(keys)
  const pages = Math.ceil(rows.length / rowsPerPage)
  const lines = encodeChanges(changes)
  const filterBytes = filter.length
  const header = {
    filterBytes,
    pages,
    changesBytes: lines.length,
    begunFirst,
    begunLast,
    openSince,
  }
  const { position, length } = changesAt(header)
  const bytes = Buffer.alloc(position + length)
  let at = bytes.writeUInt32BE(magic, 0)
  at = bytes.writeUInt32BE(filterBytes, at)
  at = bytes.writeUInt32BE(pages, at)
  at = bytes.writeUInt32BE(lines.length, at)
  at = bytes.writeBigUInt64BE(BigInt(begunFirst), at)
  at = bytes.writeBigUInt64BE(BigInt(begunLast), at)
  at = bytes.writeBigUInt64BE(BigInt(openSince), at)
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, at)), at)
  writeSummed(bytes, segmentHeaderBytes, filter)
  for (let page = 0; page < pages; page++) {
    const first = page * rowsPerPage
    const start = pagesAt(header) + page * pageBytes
    writePage(bytes, start, rows.subarray(first, first + rowsPerPage))
  }
  writeSummed(bytes, position, lines)
  return bytes
}

/**
 * Key and position as one number each, in order: numbers are sorted in a tenth of the time that
 * pairs take. Each id is hashed once: the event loop waits for all of a segment.
 */
function collect(exchanges: Segment['exchanges']) {
  /** The halves of each row, the lower one first: a bigint for each would be garbage. */
  const halves: number[] = []
  const keys: number[] = []
  let [begunFirst, begunLast] = [Number.MAX_SAFE_INTEGER, 0]
  for (const [exchange, positions] of exchanges) {
    const key = exchangeKey(exchange)
    keys.push(key)
    const begun = begunAt(exchange)
    begunFirst = Math.min(begunFirst, begun)
    begunLast = Math.max(begunLast, begun)
    const high = Math.floor(key / 2 ** 16)
    const low = (key % 2 ** 16) * 2 ** 16
    for (const position of positions) halves.push(low + position, high)
  }
  const rows = new BigUint64Array(Uint32Array.from(halves).buffer).sort()
  return { rows, keys, begunFirst, begunLast }
}

function writeSummed(bytes: Buffer, at: number, part: Uint8Array): void {
  bytes.set(part, at)
  bytes.writeUInt32BE(crc32c(part), at + part.length)
}

/** The part before its checksum; null when the bytes are damaged, or missing. */
export function parseSummed(bytes: Uint8Array | null, length: number): Uint8Array | null {
  if (bytes?.length !== length + sumBytes) return null
  const part = bytes.subarray(0, length)
  const sum = new DataView(bytes.buffer, bytes.byteOffset).getUint32(length)
  return sum === crc32c(part) ? part : null
}

/** `+<index> <exchange>` for each intent that it opens, `-<index>` for each that it closes. */
function encodeChanges({ opened, closed }: OpenChanges): Buffer {
  const lines = [...opened].map(([exchange, index]) => `+${index} ${exchange}\n`)
  for (const index of closed) lines.push(`-${index}\n`)
  return Buffer.from(lines.join(''))
}

/** `sum` is that of the index which the page is of: an integer of 32 bits. */
export function writePage(
  bytes: Buffer,
  start: number,
  rows: BigUint64Array,
  sum: (page: Uint8Array) => number = crc32c,
): void {
  const written = bytes.subarray(start, start + rows.byteLength)
  written.set(new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength))
  // Numbers in memory are little-endian on every processor that Node runs on.
  written.swap64()
  const trailer = start + pageBytes - pageTrailerBytes
  bytes.writeUInt32BE(rows.length, trailer)
  bytes.writeUInt32BE(sum(bytes.subarray(start, trailer + 4)), trailer + 4)
}

/** Null for a header that is torn, damaged or of another format: the segment is to be rebuilt. */
export function parseSegmentHeader(bytes: Uint8Array | null): SegmentHeader | null {
  if (bytes === null || bytes.length < segmentHeaderBytes) return null
  const buffer = Buffer.from(bytes)
  if (buffer.readUInt32BE(0) !== magic) return null
  const sumAt = segmentHeaderBytes - sumBytes
  if (buffer.readUInt32BE(sumAt) !== crc32c(buffer.subarray(0, sumAt))) return null
  return {
    filterBytes: buffer.readUInt32BE(4),
    pages: buffer.readUInt32BE(8),
    changesBytes: buffer.readUInt32BE(12),
    begunFirst: Number(buffer.readBigUInt64BE(16)),
    begunLast: Number(buffer.readBigUInt64BE(24)),
    openSince: Number(buffer.readBigUInt64BE(32)),
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
  const part = parseSummed(bytes, changesBytes)
  if (part === null) return false
  for (const line of Buffer.from(part).toString('latin1').split('\n')) {
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

export function searchPage(
  page: Uint8Array | null,
  key: number,
  sum: (page: Uint8Array) => number = crc32c,
): PageAnswer {
  if (page?.length !== pageBytes) throw new LedgerDamage('a page of the exchange index is missing')
  const bytes = Buffer.from(page.buffer, page.byteOffset, page.length)
  const trailer = pageBytes - pageTrailerBytes
  if (bytes.readUInt32BE(trailer + 4) !== sum(bytes.subarray(0, trailer + 4))) {
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
