import type { Clock } from '../lib/clock.ts'
import type { Lease } from '../state/lease.ts'
import type { AppendQueue } from './append-queue.ts'
import { closesExchange, type ExchangeIndex } from './exchange-index.ts'
import type { GroupCommit } from './group-commit.ts'
import type { LeafWriter, WrittenEntry } from './leaf-writer.ts'
import type { BatchDraft, Committed, CommittedBatch, EntryDraft } from './ledger.ts'
import type { LogReads } from './log-reads.ts'
import { closesIntent, isTaken, type OpenIntentTable, ownerOf } from './open-intents.ts'
import type { StatedEntry } from './stated-entry.ts'
import type { Subject, Subjects } from './subjects.ts'
import type { TermIndex } from './term-index.ts'
import { LedgerUnavailable } from './unavailable.ts'

export interface EntryAppenderParts {
  readonly queue: AppendQueue
  readonly intents: OpenIntentTable
  readonly index: ExchangeIndex
  readonly terms: TermIndex
  readonly writer: LeafWriter
  readonly subjects: Pick<Subjects, 'of' | 'ensure'>
  readonly lease: Pick<Lease, 'holds'>
  readonly clock: Pick<Clock, 'monotonic'>
  readonly commit: Pick<GroupCommit, 'add'>
  readonly reads: Pick<LogReads, 'wrote'>
  /** Throws where the entry cannot be appended now. */
  assertAppendable(draft: EntryDraft): void
}

/** An entry of a batch that has its turn, or the reason why it has none. */
type Place = Turn | Refused

interface Turn {
  readonly entry: StatedEntry
  readonly owner: string | null
  bytes: number
}

interface Refused {
  readonly entry: StatedEntry
  readonly cause: unknown
}

const isRefused = (place: Place): place is Refused => 'cause' in place

/** Gives drafts their indexes, in the order in which they come to the group commit. */
export class EntryAppender {
  readonly #parts: EntryAppenderParts
  #nextIndex: number

  constructor(size: number, parts: EntryAppenderParts) {
    this.#nextIndex = size
    this.#parts = parts
  }

  /**
   * Appends an entry that has its place in the queue. Everything up to the group happens in one go,
   * so that index and order agree.
   */
  async append(
    draft: EntryDraft,
    owner: string | null,
    named: readonly Subject[],
  ): Promise<Committed> {
    const { queue, writer, commit, intents } = this.#parts
    const { exchange, kind } = draft
    let bytes = 0
    try {
      // Before the entry has its index; nothing is awaited from here to the group.
      this.#assertHeld()
      const index = this.#nextIndex
      const subjects = intents.withIntent(draft, named)
      const entry = writer.write(draft, index, subjects)
      bytes = this.#wrote(entry)
      this.#added(draft, subjects)
      await commit.add(index, entry)
      return { exchange, kind, index, leafHash: entry.leafHash }
    } finally {
      queue.leave(owner, bytes)
    }
  }

  /** Appends what can be appended of a batch, next to each other and in one commit. */
  async appendBatch(
    entries: readonly StatedEntry[],
    entryAbout: BatchDraft,
  ): Promise<CommittedBatch> {
    const about = entryAbout(() => true)
    let places: readonly Place[] = await Promise.all(entries.map((entry) => this.#enter(entry)))
    const { queue, writer, commit, subjects } = this.#parts
    let index: number | null = null
    try {
      // While others waited, a subject may have been erased: a check of the log accepts no entry
      // that names it after that. Nothing is awaited from the last comparison to the group.
      let named = subjects.of(about)
      for (let stale = this.#stale(places); named === null || stale !== null; ) {
        places = await this.#renewed(places, stale, about)
        named = subjects.of(about)
        stale = this.#stale(places)
      }
      const first = this.#nextIndex
      const { taken, failed, written } = this.#writeAll(places)
      if (written.length > 0) {
        index = this.#nextIndex
        const draft = entryAbout((entry) => taken.has(entry))
        written.push(writer.write(draft, index, named))
        this.#added(draft, named)
        queue.pass()
        await commit.add(first, ...written)
      }
      const results = entries.map((entry) => taken.get(entry) ?? { cause: failed.get(entry) })
      return { entries: results, index }
    } finally {
      if (index !== null) queue.leave(null, 0)
      for (const place of places) if (!isRefused(place)) queue.leave(place.owner, place.bytes)
    }
  }

  get nextIndex(): number {
    return this.#nextIndex
  }

  /** The subjects of an entry; each has its key, durably. */
  async #named(draft: EntryDraft): Promise<readonly Subject[]> {
    const { subjects } = this.#parts
    let named = subjects.of(draft)
    for (; named === null; named = subjects.of(draft)) await subjects.ensure(draft, isTaken(draft))
    return named
  }

  /** Waits for the turn of one entry; one that closes an exchange has it at once. */
  async #enter(entry: StatedEntry): Promise<Place> {
    const { queue, assertAppendable } = this.#parts
    try {
      await this.#named(entry)
      assertAppendable(entry)
      const owner = closesIntent(entry) ? null : ownerOf(entry)
      if (owner === null) queue.pass()
      else await queue.enter(owner)
      return { entry, owner, bytes: 0 }
    } catch (cause) {
      return { entry, cause }
    }
  }

  /** An entry that has its turn, and names a subject without a present key. */
  #stale(places: readonly Place[]): Turn | null {
    const { subjects } = this.#parts
    return places.find((each): each is Turn => !isRefused(each) && !subjects.of(each.entry)) ?? null
  }

  /** Gives a key to what `stale`, or the entry about the batch, names. */
  async #renewed(
    places: readonly Place[],
    stale: Turn | null,
    about: EntryDraft,
  ): Promise<readonly Place[]> {
    try {
      await this.#named(stale?.entry ?? about)
      return places
    } catch (cause) {
      if (stale === null) throw cause
      this.#parts.queue.leave(stale.owner, stale.bytes)
      const { entry } = stale
      return places.map((each) => (each === stale ? { entry, cause } : each))
    }
  }

  #writeAll(places: readonly Place[]) {
    const { writer, intents, assertAppendable, subjects: known } = this.#parts
    const written: WrittenEntry[] = []
    const taken = new Map<StatedEntry, Committed>()
    const failed = new Map<StatedEntry, unknown>()
    for (const place of places) {
      const { entry } = place
      if (isRefused(place)) {
        failed.set(entry, place.cause)
        continue
      }
      try {
        // The state before the wait may have changed, and those before it in the batch count.
        assertAppendable(entry)
        this.#assertHeld()
      } catch (cause) {
        failed.set(entry, cause)
        continue
      }
      const named = known.of(entry)
      if (named === null) {
        failed.set(entry, new LedgerUnavailable('a subject of the entry has no key'))
        continue
      }
      const { exchange, kind } = entry
      const index = this.#nextIndex
      const subjects = intents.withIntent(entry, named)
      const one = writer.writeStated(entry, index, subjects)
      place.bytes = this.#wrote(one)
      this.#added(entry, subjects)
      written.push(one)
      taken.set(entry, { exchange, kind, index, leafHash: one.leafHash })
    }
    return { written, taken, failed }
  }

  #assertHeld(): void {
    if (this.#parts.lease.holds()) return
    throw new LedgerUnavailable('the lease of the log slot has expired')
  }

  #wrote({ leaf, detail }: WrittenEntry): number {
    const bytes = leaf.length + detail.length
    this.#parts.queue.wrote(bytes)
    return bytes
  }

  #added(draft: EntryDraft, subjects: readonly Subject[]): void {
    const { index, terms, intents, clock, reads } = this.#parts
    const { exchange, kind } = draft
    const at = this.#nextIndex++
    reads.wrote(draft, at)
    index.add({ exchange, kind, index: at })
    terms.add(at, draft)
    if (kind === 'intent') intents.add(draft, clock.monotonic(), subjects)
    else if (closesExchange(kind)) intents.remove(exchange)
  }
}
