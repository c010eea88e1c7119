import { type EntryReader, openedEntry, type ReadEntry } from './entry-reader.ts'
import { closesExchange, type ExchangeIndex } from './exchange-index.ts'
import type { ExchangeLine, LinePage, LineQuery } from './ledger-reads.ts'
import type { LedgerLimits } from './limits.ts'
import { knownIndex, upwards } from './log-reads.ts'
import type { PrunedPart } from './pruned-part.ts'
import type { Pace, ReadTurns } from './read-turns.ts'
import { beganAt, type Sought, type TermIndex } from './term-index.ts'
import { matches } from './terms.ts'

export interface ExchangeLinesParts {
  readonly reader: EntryReader
  readonly index: ExchangeIndex
  readonly terms: TermIndex
  readonly turns: ReadTurns
  readonly pruned: PrunedPart
  readonly limits: Pick<
    LedgerLimits,
    'readEntriesMax' | 'readBytesMax' | 'readOpenedMax' | 'readSegmentsMax' | 'termSegmentEntries'
  >
  /** Acknowledged entries. */
  size(): number
  /** Throws once nothing that is known here can be trusted any more. */
  assertServing(): void
}

/** A part of the log, and the indexes in it that are looked at, in ascending order. */
interface Stretch {
  readonly low: number
  readonly high: number
  readonly indexes: Iterable<number>
}

/** Entries that are opened together, so that most intents are at hand when their ending is. */
const stretchEntries = 32

/**
 * Lists exchanges, one line for each. A line has the index of the entry that closed the exchange,
 * which never moves; one that is under way has that of its intent.
 */
export class ExchangeLines {
  readonly #parts: ExchangeLinesParts

  constructor(parts: ExchangeLinesParts) {
    this.#parts = parts
  }

  async list(query: LineQuery): Promise<LinePage> {
    this.#parts.assertServing()
    const { before, after } = query
    const size = this.#parts.size()
    const start = knownIndex(after ?? before ?? size, size)
    this.#parts.pruned.assertLeft(start)
    return this.#parts.turns.run(query.owner ?? '', (pace) =>
      this.#page(query, { start, size, pace }),
    )
  }

  async #page(query: LineQuery, { start, size, pace }: Start): Promise<LinePage> {
    const { minimum } = this.#parts.pruned
    const olderThan = (index: number): number | null => (index <= minimum ? null : index)
    if (query.after === undefined) {
      const down = { low: minimum, high: start, isUp: false, pace }
      const { lines, reached } = await this.#walk(query, down)
      return { lines, older: olderThan(reached), newer: start }
    }
    const { lines, reached } = await this.#walk(query, { low: start, high: size, isUp: true, pace })
    return { lines: lines.toReversed(), older: olderThan(start), newer: reached }
  }

  /** `reached` is the bound up to which every line of the range was looked at. */
  async #walk(
    { countMax, terms = [], ...times }: LineQuery,
    range: Range,
  ): Promise<{ readonly lines: readonly ExchangeLine[]; readonly reached: number }> {
    const { since = 0, until = Number.POSITIVE_INFINITY } = times
    const sought = { terms, since, until }
    const isAll = terms.length === 0 && since <= 0 && until === Number.POSITIVE_INFINITY
    const stretches = isAll ? stretchesOf(range) : this.#found(range, sought)
    const { isUp, pace } = range
    const count = Math.min(countMax, this.#parts.limits.readEntriesMax)
    const { reader, limits } = this.#parts
    const lines: ExchangeLine[] = []
    const listed = new Set<string>()
    let reached = isUp ? range.low : range.high
    let opened = 0
    let bytes = 0
    for await (const { low, high, indexes } of stretches) {
      if (opened >= limits.readOpenedMax) break
      const near: ReadEntry[] = []
      for await (const entry of reader.readMany(indexes, pace)) near.push(entry)
      opened += near.length
      for (const entry of isUp ? near : near.toReversed()) {
        if (listed.has(entry.leaf.exchange)) continue
        const found = await this.#lineOf(entry, near, pace)
        if (found === null || !isSought(found.line, sought)) continue
        bytes += found.bytes
        const isFull = lines.length === count || (lines.length > 0 && bytes > limits.readBytesMax)
        if (isFull) return { lines, reached }
        lines.push(found.line)
        listed.add(found.line.exchange)
        reached = isUp ? entry.index + 1 : entry.index
      }
      reached = isUp ? high : low
    }
    return { lines, reached }
  }

  /** Yields the entries that the index names, one segment after the other. */
  async *#found({ low, high, isUp, pace }: Range, sought: Sought): AsyncGenerator<Stretch> {
    const { terms, limits, size } = this.#parts
    const { termSegmentEntries: width, readSegmentsMax } = limits
    let [from, end] = [low, high]
    for (let visited = 0; from < end && visited < readSegmentsMax; visited++) {
      const segment = Math.floor((isUp ? from : end - 1) / width)
      const part = {
        low: Math.max(from, segment * width),
        high: Math.min(end, (segment + 1) * width),
      }
      const found = await terms.find(segment, { ...sought, pace }, size())
      if (found === null) return
      const indexes = found.filter((index) => index >= part.low && index < part.high)
      yield* stretchesOf({ ...part, isUp }, indexes)
      if (isUp) from = part.high
      else end = part.low
    }
  }

  /** Null for an entry whose exchange is listed under another one. */
  async #lineOf(entry: ReadEntry, near: readonly ReadEntry[], pace: Pace) {
    const { kind, exchange } = entry.leaf
    const { index } = this.#parts
    if (kind === 'genesis') return lineOf([entry])
    // It is about the entries before it, each of which is listed with its exchange.
    if (kind === 'batch') return null
    if (kind === 'intent') return index.open.get(exchange) === entry.index ? lineOf([entry]) : null
    const others = near.filter(({ leaf }) => leaf.exchange === exchange)
    const isWhole = kind !== 'lifecycle' && others.some(({ leaf }) => leaf.kind === 'intent')
    const entries = isWhole ? others : await this.#entriesNear(entry, pace)
    const closing = entries.findLast(({ leaf }) => closesExchange(leaf.kind))
    const intent = entries.find(({ leaf }) => leaf.kind === 'intent')
    // An entry of administration stands for itself outside of an exchange with an intent.
    const shown = closing ?? intent ?? entries[0]
    if (shown?.index !== entry.index) return null
    return lineOf(intent === undefined || intent === shown ? [shown] : [intent, shown])
  }

  async #entriesNear({ index: at, leaf: { exchange, kind } }: ReadEntry, pace: Pace) {
    const { index, reader, size } = this.#parts
    let indexes = await index.findNear(exchange, at)
    const isPart = kind === 'outcome' || kind === 'indeterminate'
    // These close an intent, however far away it is.
    if (isPart && indexes[0] === at) indexes = await index.find(exchange)
    const entries: ReadEntry[] = []
    const end = size()
    const before = indexes.filter((each) => each < end)
    for await (const entry of reader.readMany(before, pace)) {
      if (entry.leaf.exchange === exchange) entries.push(entry)
    }
    return entries
  }
}

function lineOf(entries: readonly ReadEntry[]): { line: ExchangeLine; bytes: number } | null {
  const last = entries.at(-1)
  if (last === undefined) return null
  const { index, leaf } = last
  const line = { exchange: leaf.exchange, index, entries: entries.map(openedEntry) }
  return { line, bytes: entries.reduce((sum, entry) => sum + entry.bytes, 0) }
}

function isSought(line: ExchangeLine, { terms, since, until }: Sought): boolean {
  const [first] = line.entries
  const at = first === undefined ? 0 : beganAt(first)
  return at >= since && at <= until && matches(line, terms)
}

/** A part of the log, and the direction in which it is walked. */
interface Range {
  readonly low: number
  readonly high: number
  readonly isUp: boolean
  readonly pace: Pace
}

/** The index at which a page begins, and the entries that there were when it was asked for. */
interface Start {
  readonly start: number
  readonly size: number
  readonly pace: Pace
}

/** Divides a range, in its direction; `found` is every index of it that is looked at. */
function* stretchesOf(
  { low, high, isUp }: Omit<Range, 'pace'>,
  found: readonly number[] | null = null,
): Generator<Stretch> {
  const count = found === null ? high - low : found.length
  const at = (i: number): number => (found === null ? low + i : (found[i] ?? high))
  const parts = Math.max(1, Math.ceil(count / stretchEntries))
  for (let n = 0; n < parts && low < high; n++) {
    const part = isUp ? n : parts - 1 - n
    const [first, end] = [part * stretchEntries, Math.min(count, (part + 1) * stretchEntries)]
    yield {
      low: part === 0 ? low : at(first),
      high: part === parts - 1 ? high : at(end),
      indexes: found === null ? upwards(low + first, low + end) : found.slice(first, end),
    }
  }
}
