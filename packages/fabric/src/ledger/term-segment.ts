import { setImmediate } from 'node:timers/promises'
import { pageBytes, rowsPerPage, searchPage, writePage } from './exchange-segment.ts'

/**
 * One file of the term index, rebuildable from the entries: `directory ‖ pages of (key48,
 * position16) in ascending order`. The directory is `magic ‖ u32 entries ‖ u32 pages ‖ the first
 * key of each page ‖ the earliest and latest start in each block ‖ sum`. One value may have
 * thousands of rows, so that a page is found by first keys, and not by interpolation.
 *
 * The sums are keyed: a holder of the disk could otherwise hide an exchange from every search.
 */
export interface TermDirectory {
  readonly firstKeys: readonly number[]
  readonly times: BlockTimes
  /** Of the first page. */
  readonly start: number
}

const magic = 0x43_53_54_32
/** The place of the directory; those of pages are their numbers. */
const directoryPlace = 2 ** 32 - 1
const headBytes = 12
const numberBytes = 6
const sumBytes = 4
const pagesPerTurn = 32
/** Entries whose times are kept together. */
export const blockEntries = 256

/** Rows of one segment, in the order in which they came. */
export class TermRows {
  /** The low and the high half of each row; together they are one little-endian integer. */
  #words = new Uint32Array(2 * 4096)
  #count = 0

  get count(): number {
    return this.#count
  }

  add(key: number, position: number): void {
    const at = this.#count * 2
    if (at === this.#words.length) {
      const words = new Uint32Array(this.#words.length * 2)
      words.set(this.#words)
      this.#words = words
    }
    this.#words[at] = ((key % 65_536) << 16) | position
    this.#words[at + 1] = Math.floor(key / 65_536)
    this.#count += 1
  }

  /** The positions of a key, ascending. Walks all rows, which takes a millisecond or two. */
  positionsOf(key: number): readonly number[] {
    const words = this.#words
    const [high, low] = [Math.floor(key / 65_536), key % 65_536]
    const positions: number[] = []
    for (let at = 0; at < this.#count * 2; at += 2) {
      if (words[at + 1] !== high) continue
      const word = words[at] as number
      if (word >>> 16 === low) positions.push(word & 0xffff)
    }
    return positions.sort((a, b) => a - b)
  }

  sorted(): BigUint64Array {
    return new BigUint64Array(this.#words.buffer, 0, this.#count).slice().sort()
  }
}

/** The earliest and latest start of an exchange that ended in a block of entries. */
export class BlockTimes {
  readonly #earliest: Float64Array
  readonly #latest: Float64Array

  constructor(entries: number) {
    const blocks = Math.ceil(entries / blockEntries)
    this.#earliest = new Float64Array(blocks).fill(Number.POSITIVE_INFINITY)
    this.#latest = new Float64Array(blocks).fill(Number.NEGATIVE_INFINITY)
  }

  get blocks(): number {
    return this.#earliest.length
  }

  add(position: number, at: number): void {
    const block = Math.floor(position / blockEntries)
    this.#earliest[block] = Math.min(this.earliest(block), at)
    this.#latest[block] = Math.max(this.latest(block), at)
  }

  earliest(block: number): number {
    return this.#earliest[block] ?? Number.POSITIVE_INFINITY
  }

  latest(block: number): number {
    return this.#latest[block] ?? Number.NEGATIVE_INFINITY
  }

  /** The positions of all blocks in which an exchange can have begun within these times. */
  *positionsOf(since: number, until: number): Generator<number> {
    for (let block = 0; block < this.blocks; block++) {
      if (!this.mayHave(block * blockEntries, since, until)) continue
      for (let at = 0; at < blockEntries; at++) yield block * blockEntries + at
    }
  }

  /** Reports whether an exchange of the block can have begun within these times. */
  mayHave(position: number, since: number, until: number): boolean {
    const block = Math.floor(position / blockEntries)
    return this.earliest(block) <= until && this.latest(block) >= since
  }
}

/** Returns 32 bits that only a holder of the key can make, for the bytes at a place of the file. */
export type Sum = (place: number, bytes: Uint8Array) => number

/** The bytes of a segment. Other work has its turn after some pages. */
export async function encodeTermSegment(
  entries: number,
  { rows, times }: { readonly rows: TermRows; readonly times: BlockTimes },
  sum: Sum,
): Promise<Buffer> {
  const sorted = rows.sorted()
  const pages = Math.ceil(sorted.length / rowsPerPage)
  const start = directoryBytes(entries, pages)
  const bytes = Buffer.alloc(start + pages * pageBytes)
  let at = bytes.writeUInt32BE(magic, 0)
  at = bytes.writeUInt32BE(entries, at)
  at = bytes.writeUInt32BE(pages, at)
  for (let page = 0; page < pages; page++) {
    const part = sorted.subarray(page * rowsPerPage, (page + 1) * rowsPerPage)
    writePage(bytes, start + page * pageBytes, part, (written) => sum(page, written))
    at = bytes.writeUIntBE(Number((part[0] ?? 0n) >> 16n), at, numberBytes)
    if (page % pagesPerTurn === pagesPerTurn - 1) await setImmediate()
  }
  for (let block = 0; block < times.blocks; block++) {
    at = bytes.writeUIntBE(storedTime(times.earliest(block)), at, numberBytes)
    at = bytes.writeUIntBE(storedTime(times.latest(block)), at, numberBytes)
  }
  bytes.writeUInt32BE(sum(directoryPlace, bytes.subarray(0, at)), at)
  return bytes
}

/** The largest directory that `encodeTermSegment` makes of so many entries. */
export function directoryBytesMax(entries: number): number {
  return directoryBytes(entries, Math.ceil((entries * rowsPerEntryMax) / rowsPerPage))
}

/**
 * Null for bytes that are torn, damaged, of another format or of another segment: the segment is to
 * be rebuilt.
 */
export function parseTermDirectory(
  read: Uint8Array | null,
  entries: number,
  sum: Sum,
): TermDirectory | null {
  if (read === null || read.length < headBytes) return null
  const bytes = Buffer.from(read.buffer, read.byteOffset, read.length)
  if (bytes.readUInt32BE(0) !== magic || bytes.readUInt32BE(4) !== entries) return null
  const pages = bytes.readUInt32BE(8)
  const start = directoryBytes(entries, pages)
  if (bytes.length < start) return null
  const sumAt = start - sumBytes
  if (bytes.readUInt32BE(sumAt) !== sum(directoryPlace, bytes.subarray(0, sumAt))) return null
  const numberAt = (i: number): number => bytes.readUIntBE(headBytes + i * numberBytes, numberBytes)
  const times = new BlockTimes(entries)
  for (let block = 0; block < times.blocks; block++) {
    const [earliest, latest] = [numberAt(pages + 2 * block), numberAt(pages + 2 * block + 1)]
    // A block without an exchange has them the wrong way round.
    if (earliest > latest) continue
    times.add(block * blockEntries, earliest)
    times.add(block * blockEntries, latest)
  }
  return { firstKeys: Array.from({ length: pages }, (_, i) => numberAt(i)), times, start }
}

/** The pages that may have rows of a key, as a range. */
export function pagesOf({ firstKeys }: TermDirectory, key: number): readonly [number, number] {
  const first = lowerBound(firstKeys, key)
  return [Math.max(0, first - 1), lowerBound(firstKeys, key + 1)]
}

/** The number of pages that may have rows of a key. */
export function pageCount(directory: TermDirectory, key: number): number {
  const [from, end] = pagesOf(directory, key)
  return end - from
}

/** Pages next to each other, the first of which has the number `first`. */
interface Pages {
  readonly first: number
  readonly bytes: Uint8Array
}

/** The positions of a key in whole pages, ascending. Throws LedgerDamage on a damaged page. */
export function positionsIn({ first, bytes }: Pages, key: number, sum: Sum): readonly number[] {
  const positions: number[] = []
  for (let start = 0; start < bytes.length; start += pageBytes) {
    const page = bytes.subarray(start, start + pageBytes)
    const found = searchPage(page, key, (read) => sum(first + start / pageBytes, read))
    for (const position of found.positions) positions.push(position)
  }
  return positions
}

const rowsPerEntryMax = 16

function directoryBytes(entries: number, pages: number): number {
  const blocks = Math.ceil(entries / blockEntries)
  return headBytes + (pages + 2 * blocks) * numberBytes + sumBytes
}

function storedTime(at: number): number {
  return Math.min(Math.max(0, at), 2 ** 48 - 1)
}

/** The first index whose number is at least `sought`. */
function lowerBound(numbers: readonly number[], sought: number): number {
  let low = 0
  for (let high = numbers.length; low < high; ) {
    const middle = (low + high) >> 1
    if ((numbers[middle] ?? 0) < sought) low = middle + 1
    else high = middle
  }
  return low
}
