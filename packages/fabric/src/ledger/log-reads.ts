import { ListenerSet } from '@countersign/protocol'
import { Shares } from '../lib/limits.ts'
import { type EntryReader, openedEntry } from './entry-reader.ts'
import type { EntryDraft } from './ledger.ts'
import {
  type EntryPage,
  type FollowerState,
  type FollowOptions,
  type OpenedEntry,
  UnknownCursor,
} from './ledger-reads.ts'
import type { LedgerLimits } from './limits.ts'
import type { PrunedPart } from './pruned-part.ts'
import type { Pace, ReadTurns } from './read-turns.ts'
import { LedgerBusy } from './unavailable.ts'

type Bounds = Pick<
  LedgerLimits,
  | 'readEntriesMax'
  | 'readBytesMax'
  | 'followersMax'
  | 'followersPerOwnerMax'
  | 'followEntries'
  | 'followBytes'
>

interface PageBounds {
  readonly countMax: number
  readonly bytesMax: number
  readonly pace: Pace
}

export interface LogReadsParts {
  readonly reader: EntryReader
  readonly turns: ReadTurns
  readonly limits: Bounds
  readonly pruned: PrunedPart
  /** Acknowledged entries. */
  size(): number
  /** Throws once nothing that is known here can be trusted any more. */
  assertServing(): void
}

/** Reads the log in its order, now and as it grows. */
export class LogReads {
  readonly #parts: LogReadsParts
  readonly #shares: Shares
  readonly #followers = new Set<Follower>()
  /** Of followers, by first index: those at the same place open its entries once. */
  readonly #pages = new Map<number, Promise<EntryPage>>()
  readonly #durable = new ListenerSet<readonly OpenedEntry[]>()
  /** Entries that wait for their commit, in the order of the log. */
  readonly #uncommitted: OpenedEntry[] = []
  #isWaking = false

  constructor(parts: LogReadsParts) {
    const { followersMax, followersPerOwnerMax } = parts.limits
    this.#parts = parts
    this.#shares = new Shares(followersMax, followersPerOwnerMax)
  }

  async read(from: number, count: number, owner: string): Promise<EntryPage> {
    const { turns, limits } = this.#parts
    const first = this.#known(from)
    const countMax = Math.min(count, limits.readEntriesMax)
    return turns.run(owner, (pace) =>
      this.#read(first, { countMax, bytesMax: limits.readBytesMax, pace }),
    )
  }

  follow({ from, owner, signal }: FollowOptions): Follower {
    const start = this.#known(from)
    if (!this.#shares.hasSpace(owner)) throw this.#full()
    this.#shares.take(owner)
    const follower: Follower = new Follower(start, {
      owner,
      pageAt: (index) => this.#pageAt(index, owner),
      left: () => {
        this.#followers.delete(follower)
        this.#shares.give(owner)
      },
      signal,
    })
    this.#followers.add(follower)
    return follower
  }

  get followers(): readonly FollowerState[] {
    return [...this.#followers].map(({ owner, position }) => ({ owner, position }))
  }

  /** As `Ledger.onDurable`. */
  onDurable(listener: (entries: readonly OpenedEntry[]) => void): () => void {
    return this.#durable.add(listener)
  }

  /** An entry has its index, and is announced once its commit is durable. */
  wrote({ kind, exchange, at, facts }: EntryDraft, index: number): void {
    this.#uncommitted.push({ kind, exchange, at, facts, index })
  }

  /**
   * The log up to `size` is durable: shows the listeners the new entries, and wakes the followers,
   * once for all entries that came together.
   */
  announce(size: number): void {
    const after = this.#uncommitted.findIndex(({ index }) => index >= size)
    const count = after === -1 ? this.#uncommitted.length : after
    this.#durable.notify(this.#uncommitted.splice(0, count))
    if (this.#isWaking || this.#followers.size === 0) return
    this.#isWaking = true
    setImmediate(() => {
      this.#isWaking = false
      for (const follower of this.#followers) follower.wake()
    })
  }

  /** Ends every follower, with the reason for which the ledger stopped if it did. */
  close(stopped: Error | null = null): void {
    for (const follower of this.#followers) follower.end(stopped)
  }

  /** Null at the end of the log. */
  #pageAt(from: number, owner: string): Promise<EntryPage> | null {
    const { limits, size, turns, assertServing } = this.#parts
    assertServing()
    if (from >= size()) return null
    let page = this.#pages.get(from)
    if (page === undefined) {
      const { followEntries: countMax, followBytes: bytesMax } = limits
      page = this.#read(from, { countMax, bytesMax, pace: turns.paceOf(owner) }).finally(() =>
        this.#pages.delete(from),
      )
      this.#pages.set(from, page)
    }
    return page
  }

  async #read(from: number, { countMax, bytesMax, pace }: PageBounds): Promise<EntryPage> {
    const { reader, size } = this.#parts
    const entries: OpenedEntry[] = []
    let bytes = 0
    const indexes = upwards(from, Math.min(size(), from + countMax))
    for await (const entry of reader.readMany(indexes, pace)) {
      bytes += entry.bytes
      if (entries.length > 0 && bytes > bytesMax) break
      entries.push(openedEntry(entry))
    }
    return { entries, next: from + entries.length }
  }

  #known(index: number): number {
    this.#parts.assertServing()
    const known = knownIndex(index, this.#parts.size())
    this.#parts.pruned.assertLeft(known)
    return known
  }

  #full(): LedgerBusy {
    const { followersMax, followersPerOwnerMax } = this.#parts.limits
    const limit =
      this.#shares.share === followersPerOwnerMax
        ? ({ name: 'ledger.followersPerReader', value: followersPerOwnerMax } as const)
        : ({ name: 'ledger.followers', value: followersMax } as const)
    return new LedgerBusy({ ...limit, unit: 'count' }, 'too many readers follow the log')
  }
}

/** Throws UnknownCursor for an index that no entry of the log has, the next one excepted. */
export function knownIndex(index: number, size: number): number {
  if (Number.isSafeInteger(index) && index >= 0 && index <= size) return index
  throw new UnknownCursor(`the log has ${size} entries, and none of index ${index}`)
}

export function* upwards(from: number, end: number): Generator<number> {
  for (let index = from; index < end; index++) yield index
}

interface FollowerParts {
  readonly owner: string
  /** Null at the end of the log. Throws where the ledger has stopped. */
  pageAt(from: number): Promise<EntryPage> | null
  /** Called once. */
  left(): void
  readonly signal: AbortSignal | undefined
}

/** One reader that follows. Its place is given back when it ends, also where it never reads. */
class Follower implements AsyncIterableIterator<OpenedEntry> {
  readonly #parts: FollowerParts
  readonly #abort = (): void => this.end()
  #page: EntryPage
  #taken = 0
  #isEnded = false
  #stopped: Error | null = null
  #resume: (() => void) | null = null

  constructor(from: number, parts: FollowerParts) {
    this.#parts = parts
    this.#page = { entries: [], next: from }
    parts.signal?.addEventListener('abort', this.#abort, { once: true })
    // The place is given back once `follow` has entered it.
    if (parts.signal?.aborted === true) queueMicrotask(this.#abort)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  get owner(): string {
    return this.#parts.owner
  }

  get position(): number {
    return this.#page.next - this.#page.entries.length + this.#taken
  }

  async next(): Promise<IteratorResult<OpenedEntry, undefined>> {
    try {
      while (!this.#isEnded) {
        const value = this.#page.entries[this.#taken]
        if (value !== undefined) {
          this.#taken += 1
          return { done: false, value }
        }
        const page = this.#parts.pageAt(this.#page.next)
        if (page === null) await this.#woken()
        else this.#page = await page
        this.#taken = page === null ? this.#taken : 0
      }
    } catch (cause) {
      this.end()
      throw cause
    }
    if (this.#stopped !== null) throw this.#stopped
    return { done: true, value: undefined }
  }

  return(): Promise<IteratorResult<OpenedEntry, undefined>> {
    this.end()
    return Promise.resolve({ done: true, value: undefined })
  }

  wake(): void {
    this.#resume?.()
    this.#resume = null
  }

  end(stopped: Error | null = null): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#stopped = stopped
    this.#parts.signal?.removeEventListener('abort', this.#abort)
    this.#parts.left()
    this.wake()
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#resume = resolve
    })
  }
}
