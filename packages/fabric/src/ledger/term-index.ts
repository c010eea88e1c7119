import { setTimeout } from 'node:timers/promises'
import { timeOfExchange } from '@countersign/protocol'
import { Serializer } from '../concurrency/serializer.ts'
import type { Clock } from '../lib/clock.ts'
import type { EntryReader, ReadEntry } from './entry-reader.ts'
import { closesExchange, type ExchangeIndex } from './exchange-index.ts'
import { pageBytes, segmentEntriesMax } from './exchange-segment.ts'
import type { EntryKind, FactValue } from './ledger.ts'
import type { Term } from './ledger-reads.ts'
import { upwards } from './log-reads.ts'
import { inAll, inEither } from './positions.ts'
import type { Pace, ReadTurns } from './read-turns.ts'
import { LedgerDamage, type ResourceStore } from './store.ts'
import type { TermKeys } from './term-keys.ts'
import {
  BlockTimes,
  directoryBytesMax,
  encodeTermSegment,
  pageCount,
  pagesOf,
  parseTermDirectory,
  positionsIn,
  type Sum,
  type TermDirectory,
  TermRows,
} from './term-segment.ts'
import { OPEN_RESULT, visitTerms } from './terms.ts'

export interface TermIndexParts {
  readonly resources: ResourceStore
  readonly reader: EntryReader
  readonly exchanges: ExchangeIndex
  readonly keys: TermKeys
  readonly turns: ReadTurns
  readonly segmentEntries: number
  readonly clock: Clock
  readonly log: (event: string, facts: Readonly<Record<string, string | number>>) => void
}

/** An entry as it is written, or read again. */
interface IndexedEntry {
  readonly kind: EntryKind
  readonly exchange: string
  readonly at: number
  readonly facts: Readonly<Record<string, FactValue>>
}

/** A segment that is not in a file. */
interface Tail {
  readonly rows: TermRows
  readonly times: BlockTimes
  /** Entries that have to be read before it is whole, as ranges of indexes: of an earlier start. */
  missing: [from: number, end: number][]
  /** Set while they are read. */
  filling: Promise<void> | null
  /** Set until its file is written, or cannot be. */
  isQueued: boolean
}

/** Exchanges that are found by terms, or may have begun within some time. */
export interface Sought {
  readonly terms: readonly Term[]
  readonly since: number
  readonly until: number
}

interface OpenSegment {
  readonly directory: TermDirectory
  readonly sum: Sum
}

type Search = Sought & { readonly pace: Pace }

/** Directories of files that are kept in memory, of about 5 KB each. */
const directoriesMax = 64
/** Segments in memory that could not be written; the oldest is made again when it is needed. */
const tailsMax = 4
/** A reader waits as long for entries that are read; what it asked for goes on without it. */
const waitMs = 2_000
const progressEveryMs = 2_000

/**
 * Finds exchanges by what their entries state. A closing entry has the rows of its intent as well,
 * so that one lookup joins both; an exchange that is under way is in memory alone. Nothing here is
 * evidence: what it names is opened and compared, and its files can be deleted.
 *
 * A start reads nothing. Segments without a file, and what an earlier process had in memory, are
 * made from the entries when a reader first asks for them.
 */
export class TermIndex {
  readonly #parts: TermIndexParts
  readonly #tails = new Map<number, Tail>()
  readonly #directories = new Map<number, OpenSegment>()
  /** Intents that nothing has closed, with their keys. */
  readonly #open = new Map<string, { readonly index: number; readonly keys: readonly number[] }>()
  readonly #builds = new Serializer()
  /** Segments whose files are being made again. */
  readonly #rebuilt = new Map<number, Promise<void>>()
  readonly #openKey: number
  /** Entries of an earlier start. */
  readonly #before: number
  /** Segments below this one are in files, or are made from their entries. */
  #filesEnd: number
  #isStopped = false

  constructor(parts: TermIndexParts, size: number) {
    if (parts.segmentEntries > segmentEntriesMax) {
      throw new RangeError('a segment has too many entries')
    }
    this.#parts = parts
    this.#before = size
    this.#filesEnd = Math.floor(size / parts.segmentEntries)
    this.#openKey = parts.keys.indexKey('result', OPEN_RESULT)
  }

  /** On the request path: a few microseconds. Entries come in order, before they are durable. */
  add(index: number, entry: IndexedEntry): void {
    const { segmentEntries } = this.#parts
    const keys = this.#keysOf(entry)
    const { kind, exchange } = entry
    if (kind === 'intent') {
      this.#open.set(exchange, { index, keys })
      return
    }
    const tail = this.#tail(Math.floor(index / segmentEntries))
    if (!closesExchange(kind)) return addRows(tail, index % segmentEntries, entry, keys)
    const intent = this.#open.get(exchange)
    this.#open.delete(exchange)
    if (intent === undefined && kind !== 'refusal') {
      // Of an earlier start: its intent is read when it is needed.
      return addMissing(tail, index)
    }
    addRows(tail, index % segmentEntries, entry, this.#joined(intent?.keys, keys))
  }

  /** Moves whole segments whose entries are all in tiles to files, behind the callers' backs. */
  store(published: number): void {
    for (const [segment, tail] of this.#tails) {
      if ((segment + 1) * this.#parts.segmentEntries > published || this.#isStopped) return
      if (tail.isQueued) continue
      tail.isQueued = true
      void this.#builds
        .run(() => this.#store(segment, tail))
        .catch((cause: unknown) => {
          this.#parts.log('a part of the index of the ledger is not stored', {
            error: String(cause),
          })
          tail.isQueued = false
          const [oldest] = this.#tails.keys()
          if (this.#tails.size > tailsMax && oldest !== undefined) this.#toFile(oldest)
        })
    }
  }

  /** Forgets the segments below `minimum`, whose files are about to be removed. */
  forgetPruned(minimum: number): void {
    const first = Math.floor(minimum / this.#parts.segmentEntries)
    for (const segments of [this.#directories, this.#tails]) {
      for (const segment of segments.keys()) if (segment < first) segments.delete(segment)
    }
  }

  /** Stores whole segments, and ends what reads entries; resolves when nothing is at work. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#builds.run(() => Promise.resolve())
  }

  /**
   * Indexes below `size` in a segment that may match, ascending. Null while the segment is being
   * made from its entries: to be asked again.
   */
  async find(segment: number, sought: Search, size: number): Promise<readonly number[] | null> {
    const first = segment * this.#parts.segmentEntries
    const end = Math.min(first + this.#parts.segmentEntries, size)
    const { since, until, terms, pace } = sought
    const turn = pace()
    if (turn !== null) await turn
    const found = await this.#lookup(segment, terms, pace)
    if (found === null) return null
    const { positions, times } = found
    const closed: number[] = []
    for (const position of positions ?? times.positionsOf(since, until)) {
      const index = first + position
      // Two values of one entry may have one key.
      const isNew = index < end && index !== closed.at(-1)
      if (isNew && times.mayHave(position, since, until)) closed.push(index)
    }
    return inEither(closed, this.#openBetween(first, end, terms))
  }

  #openBetween(first: number, end: number, terms: readonly Term[]): readonly number[] {
    const sought = terms.map((term) => this.#keysOfTerm(term))
    const found: number[] = []
    for (const { index, keys } of this.#open.values()) {
      if (index < first || index >= end) continue
      if (sought.every((each) => each.some((key) => keys.includes(key)))) found.push(index)
    }
    return found
  }

  /** Positions are null without a term: any entry may match. */
  async #lookup(segment: number, terms: readonly Term[], pace: Pace) {
    let tail = this.#tails.get(segment)
    if (tail === undefined && segment >= this.#filesEnd) tail = this.#tail(segment)
    if (tail !== undefined) {
      if (!(await this.#isDone(this.#fill(tail)))) return null
      const { rows, times } = tail
      const keys = terms.map((term) => this.#keysOfTerm(term))
      return { times, positions: await inAll(keys, pace, (key) => rows.positionsOf(key)) }
    }
    try {
      return await this.#searchFile(segment, terms, pace)
    } catch (cause) {
      if (!(cause instanceof LedgerDamage)) throw cause
      let rebuilt = this.#rebuilt.get(segment)
      if (rebuilt === undefined) {
        this.#directories.delete(segment)
        rebuilt = this.#builds
          .run(() => this.#rebuild(segment))
          .finally(() => {
            this.#rebuilt.delete(segment)
          })
        this.#rebuilt.set(segment, rebuilt)
      }
      return (await this.#isDone(rebuilt)) ? this.#searchFile(segment, terms, pace) : null
    }
  }

  /** Resolves to false when `work` takes longer than a reader waits; rejects as it does before. */
  async #isDone(work: Promise<void>): Promise<boolean> {
    const waited = new AbortController()
    const late = setTimeout(waitMs, false, { signal: waited.signal, ref: false })
    // Work that fails later is tried again by the next reader.
    work.catch(() => undefined)
    late.catch(() => undefined)
    try {
      return await Promise.race([work.then(() => true), late])
    } finally {
      waited.abort()
    }
  }

  async #searchFile(segment: number, terms: readonly Term[], pace: Pace) {
    const open = await this.#directory(segment)
    const { directory } = open
    const pages = (keys: readonly number[]): number =>
      keys.reduce((sum, key) => sum + pageCount(directory, key), 0)
    // The rarest first: the others are not read where it is not there.
    const keys = terms.map((term) => this.#keysOfTerm(term)).sort((a, b) => pages(a) - pages(b))
    const search = (key: number) => this.#searchKey(segment, open, key)
    return { times: directory.times, positions: await inAll(keys, pace, search) }
  }

  async #searchKey(segment: number, { directory, sum }: OpenSegment, key: number) {
    const [from, end] = pagesOf(directory, key)
    if (from === end) return []
    const position = directory.start + from * pageBytes
    const length = (end - from) * pageBytes
    const bytes = await this.#parts.resources.readPart(termPath(segment), position, length)
    if (bytes?.length !== length) throw new LedgerDamage('pages of the term index are missing')
    return positionsIn({ first: from, bytes }, key, sum)
  }

  async #directory(segment: number): Promise<OpenSegment> {
    const known = this.#directories.get(segment)
    if (known !== undefined) return known
    const { resources, segmentEntries } = this.#parts
    const length = directoryBytesMax(segmentEntries)
    const bytes = await resources.readPart(termPath(segment), 0, length)
    const sum = await this.#sumOf(segment)
    const directory = parseTermDirectory(bytes, segmentEntries, sum)
    if (directory === null) throw new LedgerDamage(`segment ${segment} of the term index`)
    const [oldest] = this.#directories.keys()
    if (this.#directories.size >= directoriesMax && oldest !== undefined) {
      this.#directories.delete(oldest)
    }
    const open = { directory, sum }
    this.#directories.set(segment, open)
    return open
  }

  async #sumOf(segment: number): Promise<Sum> {
    const { reader, keys, segmentEntries } = this.#parts
    const lastLeaf = await reader.leafHash((segment + 1) * segmentEntries - 1)
    return (place, bytes) => keys.sum(segment, { lastLeaf, place, bytes })
  }

  /** Makes the file of a segment from its entries, which are all of an earlier start. */
  async #rebuild(segment: number): Promise<void> {
    const { segmentEntries, log } = this.#parts
    const first = segment * segmentEntries
    log('a file of the index of the ledger is lost or damaged, and is made again', { segment })
    const tail = this.#newTail([[first, first + segmentEntries]])
    await this.#fill(tail)
    await this.#write(segment, tail)
  }

  async #store(segment: number, tail: Tail): Promise<void> {
    // The next process reads what is missing, when it has the time.
    if (this.#isStopped && tail.missing.length > 0) return
    await this.#fill(tail)
    await this.#write(segment, tail)
    this.#toFile(segment)
  }

  /** From here on the file of a segment answers, or is made if there is none. */
  #toFile(segment: number): void {
    this.#tails.delete(segment)
    this.#filesEnd = Math.max(this.#filesEnd, segment + 1)
  }

  async #write(segment: number, tail: Tail): Promise<void> {
    const { segmentEntries } = this.#parts
    const bytes = await encodeTermSegment(segmentEntries, tail, await this.#sumOf(segment))
    await this.#parts.resources.write([{ path: termPath(segment), bytes }])
    this.#directories.delete(segment)
  }

  /** Reads what a tail lacks; callers share the work. */
  async #fill(tail: Tail): Promise<void> {
    while (tail.missing.length > 0 || tail.filling !== null) {
      tail.filling ??= this.#read(tail).finally(() => {
        tail.filling = null
      })
      await tail.filling
    }
  }

  async #read(tail: Tail): Promise<void> {
    const { reader, segmentEntries, clock, log, turns } = this.#parts
    const pace = turns.paceOf('')
    const ranges = tail.missing
    tail.missing = []
    /** Entries that have their rows; also in ranges before the one that is read. */
    let done = -1
    const intents = new Map<string, readonly number[]>()
    const total = ranges.reduce((sum, [from, end]) => sum + end - from, 0)
    let read = 0
    let loggedAt = clock.monotonic()
    try {
      for (const [from, end] of ranges) {
        for await (const entry of reader.readMany(upwards(from, end), pace)) {
          const { kind, exchange } = entry.leaf
          const keys = this.#keysOf(plain(entry))
          read += 1
          if (this.#isStopped) throw new Error('the ledger is closing')
          if (clock.monotonic() - loggedAt >= progressEveryMs) {
            loggedAt = clock.monotonic()
            log('reading the ledger for its index', { entries: read, total })
          }
          if (kind === 'intent') {
            intents.set(exchange, keys)
            done = entry.index
            continue
          }
          const intent = closesExchange(kind)
            ? (intents.get(exchange) ?? (await this.#intentOf(entry, pace)))
            : undefined
          intents.delete(exchange)
          addRows(tail, entry.index % segmentEntries, plain(entry), this.#joined(intent, keys))
          done = entry.index
        }
      }
    } catch (cause) {
      // Each entry has its rows once, however often its neighbours cannot be read.
      const rest = ranges.filter(([, end]) => end > done + 1)
      const left = rest.map(([from, end]): [number, number] => [Math.max(from, done + 1), end])
      tail.missing = [...left, ...tail.missing]
      throw cause
    }
  }

  /** The keys of the intent that an entry closed; none for a refusal without one. */
  async #intentOf({ index, leaf: { exchange, kind } }: ReadEntry, pace: Pace) {
    const { exchanges, reader } = this.#parts
    let indexes = await exchanges.findNear(exchange, index)
    if (kind !== 'refusal' && indexes[0] === index) indexes = await exchanges.find(exchange)
    const before = indexes.filter((each) => each < index)
    for await (const entry of reader.readMany(before, pace)) {
      const { leaf } = entry
      if (leaf.kind !== 'intent' || leaf.exchange !== exchange) continue
      return this.#keysOf(plain(entry))
    }
    return undefined
  }

  #keysOf({ kind, facts }: IndexedEntry): readonly number[] {
    const keys: number[] = []
    visitTerms(kind, facts, (table, value) => keys.push(this.#parts.keys.indexKey(table, value)))
    return keys
  }

  #keysOfTerm({ table, values }: Term): readonly number[] {
    return values.flatMap((value) => this.#parts.keys.searchKeys(table, value))
  }

  #joined(intent: readonly number[] = [], own: readonly number[]): readonly number[] {
    const keys = [...own]
    for (const key of intent) if (key !== this.#openKey && !keys.includes(key)) keys.push(key)
    return keys
  }

  #tail(segment: number): Tail {
    let tail = this.#tails.get(segment)
    if (tail === undefined) {
      const first = segment * this.#parts.segmentEntries
      tail = this.#newTail(first < this.#before ? [[first, this.#before]] : [])
      this.#tails.set(segment, tail)
    }
    return tail
  }

  #newTail(missing: Tail['missing']): Tail {
    const times = new BlockTimes(this.#parts.segmentEntries)
    return { rows: new TermRows(), times, missing, filling: null, isQueued: false }
  }
}

export function termPath(segment: number): string {
  return `index/terms/${segment}`
}

/** When an exchange began: as its id shows, which all of its entries share. */
export function beganAt({ exchange, at }: Pick<IndexedEntry, 'exchange' | 'at'>): number {
  return timeOfExchange(exchange) ?? at
}

function addRows(
  { rows, times }: Tail,
  position: number,
  entry: IndexedEntry,
  keys: readonly number[],
): void {
  for (const key of keys) rows.add(key, position)
  times.add(position, beganAt(entry))
}

/** A start closes tens of thousands of exchanges, whose entries are next to each other. */
function addMissing({ missing }: Tail, index: number): void {
  const last = missing.at(-1)
  if (last?.[1] === index) last[1] = index + 1
  else missing.push([index, index + 1])
}

function plain({ leaf, facts }: ReadEntry): IndexedEntry {
  const { kind, exchange, at } = leaf
  const values = Object.fromEntries(facts.map(({ name, value }) => [name, value]))
  return { kind, exchange, at, facts: values }
}
