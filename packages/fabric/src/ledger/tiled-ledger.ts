import { slotOfExchange, utf8 } from '@countersign/protocol'

import { sharedRead } from '../concurrency/shared-read.ts'

import { AppendQueue } from './append-queue.ts'
import { checkInFlight, checkLedger } from './check.ts'
import { ClockWatch, stepEntry } from './clock-watch.ts'
import { type ClosingParts, closeIntents, closeTooOld, IntentExpiry } from './close-intents.ts'
import { EntryAppender } from './entry-appender.ts'
import { openedEntry } from './entry-reader.ts'
import { Erasing } from './erasing.ts'
import { ExchangeLines } from './exchange-lines.ts'
import { GroupCommit } from './group-commit.ts'
import type {
  BatchDraft,
  Committed,
  CommittedBatch,
  EntryDraft,
  EntryPurpose,
  Erased,
  Erasure,
  FlushedLog,
  Ledger,
  LedgerCheck,
  LedgerState,
  OpenIntent,
} from './ledger.ts'
import type {
  EntryPage,
  FollowerState,
  FollowOptions,
  LinePage,
  LineQuery,
  OpenedEntry,
} from './ledger-reads.ts'
import { LedgerPruning } from './log-pruning.ts'
import { LogReads } from './log-reads.ts'
import { closesIntent, isTaken, OpenIntentTable, ownerOf, spaceOf } from './open-intents.ts'
import { Publisher } from './publisher.ts'
import { findReceipt, readExchange } from './receipts.ts'
import { findPublicResource } from './resources.ts'
import type { SpaceState } from './space-guard.ts'
import type { StatedEntry } from './stated-entry.ts'
import { SyncedHeads } from './synced-heads.ts'
import type { TiledLedgerParts } from './tiled-ledger-parts.ts'
import { ExchangeNotOpen, LedgerUnavailable } from './unavailable.ts'

export class TiledLedger implements Ledger {
  readonly #parts: TiledLedgerParts
  readonly #commit: GroupCommit
  readonly #heads: SyncedHeads
  readonly #publisher: Publisher
  readonly #queue: AppendQueue
  readonly #intents: OpenIntentTable
  readonly #appender: EntryAppender
  readonly #expiry: IntentExpiry
  readonly #watch: ClockWatch
  readonly #reads: LogReads
  readonly #lines: ExchangeLines
  /** Reads the whole log, so that callers share one check, or wait for the next. */
  readonly check = sharedRead(() => this.pruning.whileWhole(() => this.#checkOnce()))
  readonly pruning: LedgerPruning
  readonly #erasing: Erasing
  #stopped: LedgerUnavailable | null = null
  #closing: Promise<void> | null = null

  constructor(parts: TiledLedgerParts) {
    const { store, key, lease, clock, limits, index, terms, recovered } = parts
    const { tree, window, published, head } = recovered
    this.#parts = parts
    this.#watch = new ClockWatch(clock, limits.clockBehindMaxMs)
    this.#queue = new AppendQueue(limits, clock)
    this.#intents = new OpenIntentTable(limits)
    this.#expiry = new IntentExpiry(limits.openIntentMs, clock, () =>
      closeTooOld(this.#intents, this.#closings),
    )
    const serving = {
      reader: parts.reader,
      turns: parts.turns,
      pruned: parts.pruned,
      limits,
      size: () => this.size,
      assertServing: () => this.#assertServing(),
    }
    this.#reads = new LogReads(serving)
    this.#lines = new ExchangeLines({ ...serving, index, terms })
    this.#erasing = new Erasing({
      ...{ ...serving, ...parts, intents: this.#intents, window },
      nextIndex: () => this.#appender.nextIndex,
      record: (make) => this.#record(make),
    })
    const fatal = (cause: unknown) => this.#fail(cause)
    lease.onLost(fatal)
    parts.subjects.onFail(fatal)
    const heads = new SyncedHeads({ store: store.heads, lease, limits, head, published, fatal })
    this.#heads = heads
    this.#publisher = new Publisher({
      ...{ store, lease, tree, window, limits, clock, heads, fatal },
      cosigning: parts.cosigning,
      after: (size) => {
        terms.store(size)
        return index.store(size)
      },
    })
    this.pruning = new LedgerPruning({
      ...{ ...parts, tree, policy: parts.retention, resources: store.resources },
      published: () => this.#publisher.published,
      record: (draft) => this.#record(draft),
      flush: () => this.flush(),
      assertHeld: () => this.#assertHeld(),
    })
    this.#commit = new GroupCommit({
      ...{ store, lease, tree, key, clock, limits, head, heads, fatal },
      headTime: () => this.#watch.headTime(),
      room: () => this.#publisher.room(),
      committed: (group, size) => {
        window.addGroup(size - group.length, group)
        this.#publisher.announce(size)
        this.#reads.announce(size)
      },
    })
    this.#appender = new EntryAppender(head.size, {
      ...{ index, terms, lease, clock, writer: parts.writer, subjects: parts.subjects },
      ...{ queue: this.#queue, intents: this.#intents, commit: this.#commit, reads: this.#reads },
      assertAppendable: (draft) => this.#assertAppendable(draft),
    })
  }

  get slot(): string {
    return this.#parts.lease.name
  }

  get origin(): string {
    return this.#parts.origin
  }

  get vkey(): string {
    return this.#parts.key.vkey
  }

  get size(): number {
    return this.#commit.size
  }

  get first(): number {
    return this.#parts.pruned.minimum
  }

  get state(): LedgerState {
    const { recovered, space } = this.#parts
    return {
      size: this.size,
      publishedSize: this.#publisher.published.size,
      queueDepth: this.#queue.depth,
      openIntents: this.#intents.total,
      openIntentsLargest: this.#intents.largest,
      lastCommitMs: this.#commit.lastCommitMs,
      unpublishedBytes: recovered.window.unpublishedBytes,
      space: space.space,
      headAt: this.#commit.headAt,
    }
  }

  onSpace(listener: (space: SpaceState) => void): () => void {
    return this.#parts.space.onChange(listener)
  }

  onDurable(listener: (entries: readonly OpenedEntry[]) => void): () => void {
    return this.#reads.onDurable(listener)
  }

  openIntent(exchange: string): OpenIntent | null {
    return this.#intents.find(exchange)
  }

  /** Called once, by `openLedger`. */
  async start(): Promise<void> {
    const { store, clock, index, key, origin } = this.#parts
    this.#publisher.announce(this.#commit.size)
    await this.#publisher.flush()
    this.#assertServing()
    await this.#confirmPublished()
    // Everything is in tiles; what remains is a torn tail, or records that are tiles already.
    await store.wal.reset()
    if (this.size === 0) {
      const facts = { origin, 'log.key': key.publicKey }
      await this.#record({ kind: 'genesis', exchange: 'genesis', at: clock.now(), facts })
    }
    const { clockStep } = this.#parts.recovered
    // First of all that is of the accepted time.
    if (clockStep !== null) {
      await this.#record(stepEntry('clock-accepted', clockStep, this.#parts.newId()))
    }
    await closeIntents([...index.open.keys()], 'restart', this.#closings)
    await this.pruning.start()
    this.#expiry.start()
    this.#parts.space.start()
  }

  get #closings(): ClosingParts {
    const { clock, index, limits, log } = this.#parts
    return {
      ...{ clock, log },
      atOnce: Math.min(limits.groupEntriesMax, limits.queueEntriesMax),
      isOpen: (exchange) => index.open.has(exchange),
      append: async (draft) => {
        await this.#parts.space.freshen()
        return this.#record(draft)
      },
    }
  }

  /**
   * A process that died between renaming the checkpoint and syncing its directory left a name that
   * we can read and a power loss would take back, with the records that it stands for gone by then.
   */
  async #confirmPublished(): Promise<void> {
    const { checkpoint } = this.#publisher.published
    if (checkpoint === '') return
    await this.#parts.store.resources.write([{ path: 'checkpoint', bytes: utf8(checkpoint) }])
  }

  async append(draft: EntryDraft): Promise<Committed> {
    const regained = this.#parts.lease.regain()
    if (regained !== null) await this.#regained(regained)
    const measured = this.#parts.space.freshen()
    if (measured !== null) await measured
    const { subjects } = this.#parts
    let named = subjects.of(draft)
    for (; named === null; named = subjects.of(draft)) await subjects.ensure(draft, isTaken(draft))
    this.#assertAppendable(draft)
    this.#expiry.poke(this.#parts.clock.monotonic())
    this.#watch.record(this.#parts, (step) => this.#record(step))
    if (isTaken(draft)) return this.#record(draft)
    const owner = ownerOf(draft)
    const turn = this.#queue.enter(owner)
    if (turn === null) return this.#appender.append(draft, owner, named)
    await turn
    try {
      // The state before the wait may have changed by now.
      for (named = subjects.of(draft); named === null; named = subjects.of(draft)) {
        await subjects.ensure(draft, false)
      }
      this.#assertAppendable(draft)
    } catch (cause) {
      this.#queue.leave(owner, 0)
      throw cause
    }
    return this.#appender.append(draft, owner, named)
  }

  async appendBatch(entries: readonly StatedEntry[], about: BatchDraft): Promise<CommittedBatch> {
    const regained = this.#parts.lease.regain()
    if (regained !== null) await this.#regained(regained)
    await this.#parts.space.freshen()
    this.#expiry.poke(this.#parts.clock.monotonic())
    this.#watch.record(this.#parts, (step) => this.#record(step))
    return this.#appender.appendBatch(entries, about)
  }

  async findBatch(id: string): Promise<OpenedEntry | null> {
    const entries = await this.#entriesOf(id)
    const found = entries.find(({ leaf }) => leaf.kind === 'batch')
    return found === undefined ? null : openedEntry(found)
  }

  async assertSpace(purpose: EntryPurpose | null): Promise<void> {
    const measured = this.#parts.space.freshen()
    if (measured !== null) await measured
    if (this.#closing !== null) throw new LedgerUnavailable('the ledger is closing')
    this.#assertServing()
    this.#parts.space.assertSpace(spaceOf(purpose))
  }

  #assertAppendable(draft: EntryDraft): void {
    if (draft.kind === 'genesis') throw new TypeError('only the ledger writes its genesis')
    const { slot } = this
    if ((slotOfExchange(draft.exchange) ?? slot) !== slot) {
      throw new ExchangeNotOpen(
        `${draft.exchange} is recorded in another log than that of slot ${slot}`,
      )
    }
    if (draft.kind === 'intent' && this.#parts.index.open.has(draft.exchange)) {
      throw new TypeError('the exchange has an intent already')
    }
    if (closesIntent(draft)) this.#parts.index.assertOpen(draft.exchange)
    if (this.#closing !== null) throw new LedgerUnavailable('the ledger is closing')
    this.#assertServing()
    this.#parts.space.assertSpace(closesIntent(draft) ? 'reserved' : spaceOf(draft.purpose ?? null))
    if (draft.kind === 'intent') this.#intents.assertSpace(ownerOf(draft))
  }

  /**
   * For an entry that must not wait behind others: one that closes an exchange, or of the fabric's
   * own.
   */
  async #record(given: EntryDraft | (() => EntryDraft)): Promise<Committed> {
    const regained = this.#parts.lease.regain()
    if (regained !== null) await this.#regained(regained)
    this.#assertServing()
    this.#parts.space.assertSpace('reserved')
    const draft = typeof given === 'function' ? given() : given
    const { subjects } = this.#parts
    let named = subjects.of(draft)
    for (; named === null; named = subjects.of(draft)) await subjects.ensure(draft, true)
    this.#assertServing()
    if (closesIntent(draft)) this.#parts.index.assertOpen(draft.exchange)
    this.#queue.pass()
    return this.#appender.append(draft, null, named)
  }

  countEntries(isSubject: (name: string) => boolean, owner = ''): Promise<number> {
    return this.#parts.turns.run(owner, (pace) => this.#erasing.count(isSubject, pace))
  }

  assertErasable(): void {
    this.#parts.subjects.assertErasable()
  }

  erase(erasure: Erasure): Promise<Erased> {
    return this.pruning.whileWhole(() => this.#erasing.erase(erasure))
  }

  async findReceipt(exchange: string): Promise<Uint8Array | null> {
    const { origin, recovered, pruned } = this.#parts
    const entries = await this.#entriesOf(exchange)
    return findReceipt(exchange, entries, {
      ...{ origin, pruned, tree: recovered.tree, reader: this.#parts.reader, size: this.size },
      handOut: (size) => this.#regained(this.#publisher.handOut(size)),
    })
  }

  async explain(exchange: string): Promise<readonly OpenedEntry[]> {
    return (await this.#entriesOf(exchange)).map(openedEntry)
  }

  read(from: number, count: number, owner = ''): Promise<EntryPage> {
    return this.#reads.read(from, count, owner)
  }

  follow(options: FollowOptions): AsyncIterableIterator<OpenedEntry> {
    return this.#reads.follow(options)
  }

  get followers(): readonly FollowerState[] {
    return this.#reads.followers
  }

  list(query: LineQuery): Promise<LinePage> {
    return this.#lines.list(query)
  }

  async findResource(path: string): Promise<Uint8Array | null> {
    await this.#assertHeld()
    return findPublicResource(this.#parts.store.resources, path)
  }

  async flush(): Promise<FlushedLog> {
    await this.#assertHeld()
    await this.#publisher.flush()
    this.#assertServing()
    return { size: this.#publisher.published.size, headAt: this.#commit.headAt }
  }

  async #checkOnce(): Promise<LedgerCheck> {
    this.#assertServing()
    await this.#publisher.flush()
    this.#assertServing()
    const { published } = this.#publisher
    const pace = this.#parts.turns.paceOf('')
    const checked = await checkLedger({ ...this.#parts, published, pace })
    await checkInFlight(checked.unclosed, this.#parts.index, published.size)
    return { ...checked, entries: published.size, unclosed: checked.unclosed.length }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { store } = this.#parts
    try {
      this.#parts.space.stop()
      await this.#expiry.stop()
      await this.pruning.stop()
      this.#queue.stop(new LedgerUnavailable('the ledger is closing'))
      await this.#commit.drain()
      await this.#publisher.flush()
      await this.#publisher.stop()
      await this.#parts.terms.stop()
      await this.#parts.groups.stop()
      if (this.#stopped === null) {
        await this.#heads.flush()
        await this.#parts.subjects.close()
        await store.wal.reset()
      }
    } finally {
      this.#stopped ??= new LedgerUnavailable('the ledger is closed')
      this.#reads.close()
      await this.#heads.stop(this.#stopped)
      await store.close()
    }
  }

  async #entriesOf(exchange: string) {
    // A holder that was replaced does not know how its exchanges ended since.
    await this.#assertHeld()
    const { index, reader } = this.#parts
    const { size } = this
    const indexes = (await index.find(exchange)).filter((at) => at < size)
    return readExchange(exchange, indexes, reader)
  }

  /** Another process may append to the log now, so that what is known here may be old. */
  async #regained<Result>(regained: Promise<Result>): Promise<Result> {
    try {
      return await regained
    } catch (cause) {
      this.#assertServing()
      throw new LedgerUnavailable('the lease of the log slot is lost', { cause })
    }
  }

  async #assertHeld(): Promise<void> {
    const regained = this.#parts.lease.regain()
    if (regained !== null) await this.#regained(regained)
    this.#assertServing()
  }

  #assertServing(): void {
    if (this.#stopped !== null) throw this.#stopped
  }

  /**
   * After a failed write or sync the page cache may show what the disk does not have: no answer of
   * this process can be trusted any more, so it gives none.
   */
  #fail(cause: unknown): void {
    if (this.#stopped !== null) return
    this.#stopped = new LedgerUnavailable('the ledger stopped for good', { cause })
    this.#commit.stop(this.#stopped)
    this.#queue.stop(this.#stopped)
    void this.#publisher.stop()
    void this.#heads.stop(this.#stopped)
    void this.#expiry.stop()
    void this.#parts.terms.stop()
    void this.#parts.groups.stop()
    void this.pruning.stop()
    this.#parts.space.stop()
    this.#reads.close(this.#stopped)
    this.#parts.onFatal(cause)
  }
}
