import { mayHaveKey } from './exchange-filter.ts'
import {
  applyChanges,
  begunAt,
  changesAt,
  encodeSegment,
  exchangeKey,
  OpenChanges,
  type OpenIntents,
  pageBytes,
  pagesAt,
  parseSegmentHeader,
  parseSummed,
  type SegmentHeader,
  searchPage,
  segmentEntriesMax,
  segmentHeaderBytes,
} from './exchange-segment.ts'
import type { EntryKind } from './ledger.ts'
import { PrunedPart } from './pruned-part.ts'
import { LedgerDamage, type ResourceStore } from './store.ts'
import { ExchangeNotOpen } from './unavailable.ts'

/** The facts that the index keeps of an entry. */
export interface IndexedEntry {
  readonly exchange: string
  readonly kind: EntryKind
  readonly index: number
}

/** The facts that memory keeps of an exchange. */
interface Recent {
  readonly indexes: number[]
  /** Then `indexes` is all there is: a closing entry brings the index of its intent along. */
  closed: boolean
}

/** Index entries of one segment that is not in a file yet. */
interface Tail {
  readonly exchanges: Map<string, Recent>
  readonly changes: OpenChanges
  /** Set when the segment is complete. */
  openSince: number | null
}

const closingKinds: ReadonlySet<EntryKind> = new Set(['outcome', 'refusal', 'indeterminate'])

export function closesExchange(kind: EntryKind): boolean {
  return closingKinds.has(kind)
}

/** Segments whose headers and filters are read at once. */
const readsAtOnce = 8
/** Filters in memory: of about 26 million entries. Those of further segments are read again. */
const filterBytesMax = 16 * 1024 * 1024

/** As the ids of exchanges show them. Unix milliseconds. */
export type BegunTimes = Pick<SegmentHeader, 'begunFirst' | 'begunLast'>

interface Sought {
  readonly key: number
  readonly begun: number
}

/**
 * Finds the entries that belong to an exchange, and the intents that are open. Memory for the
 * newest entries, sorted files for the rest. Nothing here is evidence: each result is read and
 * compared, and the files can be deleted.
 */
export class ExchangeIndex {
  readonly #resources: ResourceStore
  readonly #segmentEntries: number
  readonly #open = new Map<string, number>()
  /** By segment number, oldest first. */
  readonly #tails = new Map<number, Tail>()
  readonly #headers = new Map<number, SegmentHeader>()
  readonly #filters = new Map<number, Uint8Array>()
  readonly #pruned: PrunedPart
  #filterBytes = 0
  #stored = 0

  constructor(resources: ResourceStore, segmentEntries: number, pruned = new PrunedPart()) {
    if (segmentEntries > segmentEntriesMax) throw new RangeError('a segment has too many entries')
    this.#resources = resources
    this.#segmentEntries = segmentEntries
    this.#pruned = pruned
  }

  /** The first segment that is left. */
  get #first(): number {
    return Math.floor(this.#pruned.minimum / this.#segmentEntries)
  }

  /** Throws ExchangeNotOpen unless the exchange has an intent that nothing has closed. */
  assertOpen(exchange: string): void {
    if (!this.#open.has(exchange)) throw new ExchangeNotOpen('the exchange has no open intent')
  }

  /** The oldest intent that nothing has closed; null if there is none. */
  get oldestOpen(): { readonly exchange: string; readonly index: number } | null {
    for (const [exchange, index] of this.#open) return { exchange, index }
    return null
  }

  /** Intents that nothing has closed yet, with their indexes. */
  get open(): OpenIntents {
    return this.#open
  }

  /**
   * Loads the open intents at the end of the last whole segment within `size` entries; gives the
   * index from which entries must be added.
   */
  async restore(size: number): Promise<number> {
    let count = Math.floor(size / this.#segmentEntries)
    while (count > this.#first) {
      const usable = await this.#restoreOpen(count)
      if (usable === count) {
        this.#stored = count
        return count * this.#segmentEntries
      }
      count = usable
    }
    for (const [exchange, index] of this.#pruned.state.open) this.#open.set(exchange, index)
    this.#stored = this.#first
    return this.#pruned.minimum
  }

  /**
   * Fills `open` from the first `count` segments and gives `count`, or the number of segments
   * before the newest one that cannot be used. Reads from the segment of the oldest open intent
   * onwards.
   */
  async #restoreOpen(count: number): Promise<number> {
    const last = await this.#header(count - 1)
    if (last === null) return count - 1
    const open = new Map<number, string>()
    for (const [exchange, index] of this.#pruned.state.open) open.set(index, exchange)
    const from = Math.max(this.#first, Math.floor(last.openSince / this.#segmentEntries))
    for (let at = from; at < count; at++) {
      if (!(await this.#applyChanges(at, open))) return at
    }
    this.#open.clear()
    for (const [index, exchange] of open) {
      if (index >= last.openSince) this.#open.set(exchange, index)
    }
    return count
  }

  /** Entries come in order. Before durability, so that a second intent is refused at once. */
  add({ exchange, kind, index }: IndexedEntry): void {
    const segment = Math.floor(index / this.#segmentEntries)
    const tail = this.#tail(segment)
    let recent = tail.exchanges.get(exchange)
    if (recent === undefined) {
      recent = { indexes: [], closed: false }
      tail.exchanges.set(exchange, recent)
    }
    if (kind === 'intent') {
      this.#open.set(exchange, index)
      tail.changes.open(exchange, index)
    }
    if (closesExchange(kind)) {
      const intent = this.#open.get(exchange)
      if (intent !== undefined) {
        if (!recent.indexes.includes(intent)) recent.indexes.push(intent)
        tail.changes.close(exchange, intent)
      }
      this.#open.delete(exchange)
      recent.closed = true
    }
    recent.indexes.push(index)
    if ((index + 1) % this.#segmentEntries === 0) tail.openSince = openSince(this.#open, index + 1)
  }

  /** The entries of an exchange, in order; a hash decides, so some may be of another one. */
  async find(exchange: string): Promise<readonly number[]> {
    const found = new Set<number>()
    for (const tail of [...this.#tails.values()].reverse()) {
      const recent = tail.exchanges.get(exchange)
      for (const index of recent?.indexes ?? []) found.add(index)
      if (recent?.closed === true) return this.#ascending(found)
    }
    const sought = soughtOf(exchange)
    const candidates = this.#candidates(sought)
    for (let at = 0; at < candidates.length; at += readsAtOnce) {
      const some = candidates.slice(at, at + readsAtOnce)
      const rows = await Promise.all(some.map((segment) => this.#search(segment, sought)))
      for (const index of rows.flat()) found.add(index)
    }
    return this.#ascending(found)
  }

  /**
   * Segments that neither their times nor their filter exclude. Times alone do not find the one: a
   * clock may have gone back, and the entry of a connector may be late by hours.
   */
  #candidates(sought: Sought): readonly number[] {
    const candidates: number[] = []
    for (let segment = this.#first; segment < this.#stored; segment++) {
      const header = this.#headers.get(segment)
      if (header !== undefined && !mayHaveBegun(header, sought)) continue
      const filter = this.#filters.get(segment)
      if (filter === undefined || mayHaveKey(filter, sought.key)) candidates.push(segment)
    }
    return candidates
  }

  /**
   * The entries of an exchange near its entry `at`: those in memory, in the segment of `at`, in the
   * one after it, and in the one in which the exchange began. A few reads however long the log is.
   */
  async findNear(exchange: string, at: number): Promise<readonly number[]> {
    const found = new Set<number>([at])
    for (const tail of this.#tails.values()) {
      for (const index of tail.exchanges.get(exchange)?.indexes ?? []) found.add(index)
    }
    const segment = Math.floor(at / this.#segmentEntries)
    const sought = soughtOf(exchange)
    const first = await this.#firstAfter(sought.begun, Math.min(segment, this.#stored))
    const near = new Set([first, first + 1, segment, segment + 1])
    const searches = [...near].filter((each) => each >= this.#first && each < this.#stored)
    const rows = await Promise.all(searches.map((each) => this.#search(each, sought)))
    for (const index of rows.flat()) found.add(index)
    return this.#ascending(found)
  }

  /** The first of `end` segments in which an exchange began at `begun` or later; `end` if none. */
  async #firstAfter(begun: number, end: number): Promise<number> {
    let low = Math.min(this.#first, end)
    for (let high = end; low < high; ) {
      const middle = (low + high) >> 1
      if ((await this.#knownHeader(middle)).begunLast < begun) low = middle + 1
      else high = middle
    }
    return low
  }

  /**
   * The earliest and the latest start of an exchange in the segments from entry `from` to `end`;
   * null where one of them is not in a file yet.
   */
  async timesBetween(from: number, end: number): Promise<BegunTimes | null> {
    let [begunFirst, begunLast] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
    for (let at = from; at < end; at += this.#segmentEntries) {
      const segment = Math.floor(at / this.#segmentEntries)
      if (segment >= this.#stored) return null
      const header = await this.#knownHeader(segment)
      begunFirst = Math.min(begunFirst, header.begunFirst)
      begunLast = Math.max(begunLast, header.begunLast)
    }
    return { begunFirst, begunLast }
  }

  /** Forgets the segments of pruned entries, whose files are about to be removed. */
  forgetPruned(): void {
    for (const segment of this.#headers.keys()) {
      if (segment < this.#first) this.#headers.delete(segment)
    }
    for (const [segment, { length }] of this.#filters) {
      if (segment >= this.#first) continue
      this.#filters.delete(segment)
      this.#filterBytes -= length
    }
  }

  /** Moves complete segments whose entries are all in tiles to files. */
  async store(published: number): Promise<void> {
    for (const [segment, tail] of this.#tails) {
      const first = segment * this.#segmentEntries
      if (tail.openSince === null || first + this.#segmentEntries > published) return
      const { changes, openSince } = tail
      const bytes = encodeSegment({ exchanges: positionsIn(tail, first), changes, openSince })
      await this.#resources.write([{ path: segmentPath(segment), bytes }])
      // The file answers from here on; between the two lines both do, with the same indexes.
      this.#stored = segment + 1
      this.#tails.delete(segment)
    }
  }

  /** Entries that are left; memory may still have the index of an intent that was pruned. */
  #ascending(indexes: ReadonlySet<number>): readonly number[] {
    const { minimum } = this.#pruned
    return [...indexes].filter((index) => index >= minimum).sort((a, b) => a - b)
  }

  #tail(segment: number): Tail {
    let tail = this.#tails.get(segment)
    if (tail === undefined) {
      tail = {
        exchanges: new Map(),
        changes: new OpenChanges(),
        openSince: null,
      }
      this.#tails.set(segment, tail)
    }
    return tail
  }

  /** Reads pages only of a segment whose times and filter do not exclude the exchange. */
  async #search(segment: number, sought: Sought): Promise<readonly number[]> {
    try {
      return await this.#searchFile(segment, sought)
    } catch (cause) {
      // Pruned meanwhile: nothing of it is left to be found.
      if (segment < this.#first) return []
      throw cause
    }
  }

  async #searchFile(segment: number, sought: Sought): Promise<readonly number[]> {
    const header = await this.#knownHeader(segment)
    if (!mayHaveBegun(header, sought)) return []
    const { key } = sought
    const known = this.#filters.get(segment)
    if (!mayHaveKey(known ?? (await this.#readFilter(segment, header)), key)) return []
    const { pages } = header
    const first = Math.min(pages - 1, Math.floor((key / 2 ** 48) * pages))
    const found: number[] = []
    const look = async (page: number) => {
      const position = pagesAt(header) + page * pageBytes
      const bytes = await this.#resources.readPart(segmentPath(segment), position, pageBytes)
      const answer = searchPage(bytes, key)
      for (const at of answer.positions) found.push(segment * this.#segmentEntries + at)
      return answer
    }
    const guess = await look(first)
    for (let page = first - 1, more = guess.before; more && page >= 0; page--) {
      more = (await look(page)).before
    }
    for (let page = first + 1, more = guess.after; more && page < pages; page++) {
      more = (await look(page)).after
    }
    return found
  }

  async #knownHeader(segment: number): Promise<SegmentHeader> {
    const known = this.#headers.get(segment)
    if (known !== undefined) return known
    const header = await this.#header(segment)
    if (header === null)
      throw new LedgerDamage(`segment ${segment} of the exchange index is damaged`)
    this.#headers.set(segment, header)
    return header
  }

  async #readFilter(segment: number, { filterBytes }: SegmentHeader): Promise<Uint8Array> {
    const path = segmentPath(segment)
    const bytes = await this.#resources.readPart(path, segmentHeaderBytes, filterBytes + 4)
    const filter = parseSummed(bytes, filterBytes)
    if (filter === null) throw new LedgerDamage(`the filter of segment ${segment} is damaged`)
    if (!this.#filters.has(segment)) this.#filterBytes += filterBytes
    this.#filters.set(segment, filter)
    for (const [oldest, { length }] of this.#filters) {
      if (this.#filterBytes <= filterBytesMax) break
      this.#filters.delete(oldest)
      this.#filterBytes -= length
    }
    return filter
  }

  async #header(segment: number) {
    const path = segmentPath(segment)
    return parseSegmentHeader(await this.#resources.readPart(path, 0, segmentHeaderBytes))
  }

  async #applyChanges(segment: number, open: Map<number, string>): Promise<boolean> {
    const header = await this.#header(segment)
    if (header === null) return false
    const { position, length } = changesAt(header)
    const bytes = await this.#resources.readPart(segmentPath(segment), position, length)
    return applyChanges(bytes, header, open)
  }
}

/** Intents are opened in the order of their indexes, so the first is the oldest. */
export function openSince(open: OpenIntents, end: number): number {
  for (const index of open.values()) return index
  return end
}

export function segmentPath(segment: number): string {
  return `index/${segment}`
}

function soughtOf(exchange: string): Sought {
  return { key: exchangeKey(exchange), begun: begunAt(exchange) }
}

function mayHaveBegun({ begunFirst, begunLast }: SegmentHeader, { begun }: Sought): boolean {
  return begun >= begunFirst && begun <= begunLast
}

/** As the file of the segment that begins at `first` holds them: without intents before it. */
function* positionsIn(
  { exchanges }: Tail,
  first: number,
): Generator<readonly [exchange: string, positions: readonly number[]]> {
  for (const [exchange, { indexes }] of exchanges) {
    yield [exchange, indexes.filter((index) => index >= first).map((index) => index - first)]
  }
}
