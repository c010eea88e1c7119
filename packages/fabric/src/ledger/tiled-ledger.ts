import { slotOfExchange, utf8 } from '@countersign/protocol'
import { sharedRead } from '../concurrency/shared-read.ts'
import type { Clock } from '../lib/clock.ts'
import type { Lease } from '../state/lease.ts'
import { AppendQueue } from './append-queue.ts'
import { checkLedger } from './check.ts'
import type { CheckpointKey } from './checkpoint.ts'
import { type ClockStep, ClockWatch } from './clock-watch.ts'
import { type CloseReason, closeIntents, IntentExpiry } from './close-intents.ts'
import type { Cosigning } from './cosigning.ts'
import type { DetailVault } from './details.ts'
import { type EntryReader, openedEntry } from './entry-reader.ts'
import { closesExchange, type ExchangeIndex } from './exchange-index.ts'
import { ExchangeLines } from './exchange-lines.ts'
import { GroupCommit } from './group-commit.ts'
import type { LeafWriter } from './leaf-writer.ts'
import type {
  Committed,
  EntryDraft,
  EntryPurpose,
  FlushedLog,
  Ledger,
  LedgerCheck,
  LedgerState,
  OpenIntent,
} from './ledger.ts'
import type { EntryPage, FollowOptions, LinePage, LineQuery, OpenedEntry } from './ledger-reads.ts'
import type { LedgerLimits } from './limits.ts'
import { LogReads } from './log-reads.ts'
import { closesIntent, OpenIntentTable, ownerOf, spaceOf } from './open-intents.ts'
import { Publisher } from './publisher.ts'
import type { ReadTurns } from './read-turns.ts'
import { findReceipt, readExchange } from './receipts.ts'
import type { Recovered } from './recovery.ts'
import { findPublicResource } from './resources.ts'
import type { SpaceGuard, SpaceState } from './space-guard.ts'
import { LedgerDamage, type LedgerStore } from './store.ts'
import { SyncedHeads } from './synced-heads.ts'
import type { TermIndex } from './term-index.ts'
import type { GroupIndex } from './tile-groups.ts'
import { ExchangeNotOpen, LedgerUnavailable } from './unavailable.ts'

export interface TiledLedgerParts {
  readonly store: LedgerStore
  readonly lease: Lease
  readonly origin: string
  readonly key: CheckpointKey
  readonly cosigning: Cosigning
  readonly vault: DetailVault
  readonly limits: LedgerLimits
  readonly clock: Clock
  readonly index: ExchangeIndex
  readonly groups: GroupIndex
  readonly terms: TermIndex
  readonly turns: ReadTurns
  readonly reader: EntryReader
  readonly writer: LeafWriter
  readonly recovered: Recovered
  readonly space: SpaceGuard
  /** For an entry of the ledger's own. */
  newId(): string
  readonly log: (event: string, facts: Readonly<Record<string, string | number>>) => void
  readonly onFatal: (cause: unknown) => void
}

export class TiledLedger implements Ledger {
  readonly #parts: TiledLedgerParts
  readonly #commit: GroupCommit
  readonly #heads: SyncedHeads
  readonly #publisher: Publisher
  readonly #queue: AppendQueue
  readonly #intents: OpenIntentTable
  readonly #expiry: IntentExpiry
  readonly #watch: ClockWatch
  readonly #reads: LogReads
  readonly #lines: ExchangeLines
  /** Reads the whole log, so that callers share one check, or wait for the next. */
  readonly check = sharedRead(() => this.#checkOnce())
  /** The index of the next draft; drafts keep the order in which `append` was called. */
  #nextIndex: number
  #stopped: LedgerUnavailable | null = null
  #closing: Promise<void> | null = null

  constructor(parts: TiledLedgerParts) {
    const { store, key, lease, clock, limits, index, terms, recovered } = parts
    const { tree, window, published, head } = recovered
    this.#parts = parts
    this.#nextIndex = head.size
    this.#watch = new ClockWatch(clock, limits.clockBehindMaxMs)
    this.#queue = new AppendQueue(limits, clock)
    this.#intents = new OpenIntentTable(limits)
    this.#expiry = new IntentExpiry(limits.openIntentMs, clock, () => this.#closeTooOld())
    const serving = {
      reader: parts.reader,
      turns: parts.turns,
      limits,
      size: () => this.size,
      assertServing: () => this.#assertServing(),
    }
    this.#reads = new LogReads(serving)
    this.#lines = new ExchangeLines({ ...serving, index, terms })
    const fatal = (cause: unknown) => this.#fail(cause)
    lease.onLost(fatal)
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
    this.#commit = new GroupCommit({
      ...{ store, lease, tree, key, clock, limits, head, heads, fatal },
      headTime: () => this.#watch.headTime(),
      room: () => this.#publisher.room(),
      committed: (group, size) => {
        const first = size - group.length
        for (const [i, { leaf, detail }] of group.entries()) {
          window.add(first + i, { leaf, detail })
        }
        this.#publisher.announce(size)
        this.#reads.announce()
      },
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
    if (this.#nextIndex === 0) {
      const facts = { origin, 'log.key': key.publicKey }
      await this.#record({ kind: 'genesis', exchange: 'genesis', at: clock.now(), facts })
    }
    const { clockStep } = this.#parts.recovered
    // First of all that is of the accepted time.
    if (clockStep !== null) await this.#recordStep('clock-accepted', clockStep)
    await this.#closeAll([...index.open.keys()], 'restart')
    this.#expiry.start()
    this.#parts.space.start()
  }

  /** A jump of the clock is on record before the first entry that is of the new time. */
  #lookAtClock(): void {
    const step = this.#watch.look()
    if (step === null) return
    const { before, after } = step
    this.#parts.log('the clock of this machine was set', { before, after })
    this.#recordStep('clock-stepped', step).catch((cause: unknown) => {
      this.#parts.log('a jump of the clock is not on record', { error: String(cause) })
    })
  }

  #recordStep(event: string, { before, after }: ClockStep): Promise<Committed> {
    const facts = { event, 'clock.before': before, 'clock.after': after }
    const exchange = this.#parts.newId()
    return this.#record({ kind: 'lifecycle', exchange, at: after, facts })
  }

  #closeAll(exchanges: readonly string[], reason: CloseReason): Promise<void> {
    const { clock, index, limits, log } = this.#parts
    return closeIntents(exchanges, reason, {
      clock,
      log,
      atOnce: Math.min(limits.groupEntriesMax, limits.queueEntriesMax),
      isOpen: (exchange) => index.open.has(exchange),
      append: async (draft) => {
        await this.#parts.space.freshen()
        return this.#record(draft)
      },
    })
  }

  async #closeTooOld(): Promise<void> {
    const { clock, log } = this.#parts
    const exchanges = [...this.#intents.tooOld(clock.monotonic())]
    try {
      await this.#closeAll(exchanges, 'too-old')
    } catch (cause) {
      // The next round tries again, unless the ledger has stopped.
      log('exchanges that are open for too long could not be closed', { error: String(cause) })
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
    this.#assertAppendable(draft)
    this.#expiry.poke(this.#parts.clock.monotonic())
    this.#lookAtClock()
    if (closesIntent(draft) || draft.purpose === 'lifecycle') return this.#record(draft)
    const owner = ownerOf(draft)
    const turn = this.#queue.enter(owner)
    if (turn === null) return this.#write(draft, owner)
    await turn
    try {
      // The state before the wait may have changed by now.
      this.#assertAppendable(draft)
    } catch (cause) {
      this.#queue.leave(owner, 0)
      throw cause
    }
    return this.#write(draft, owner)
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
    const isOpen = this.#parts.index.open.has(draft.exchange)
    if (draft.kind === 'intent' && isOpen) {
      throw new TypeError('the exchange has an intent already')
    }
    if (closesIntent(draft) && !isOpen) {
      throw new ExchangeNotOpen('the exchange has no open intent')
    }
    if (this.#closing !== null) throw new LedgerUnavailable('the ledger is closing')
    this.#assertServing()
    this.#parts.space.assertSpace(closesIntent(draft) ? 'reserved' : spaceOf(draft.purpose ?? null))
    if (draft.kind === 'intent') this.#intents.assertSpace(ownerOf(draft))
  }

  /**
   * For an entry that must not wait behind others: one that closes an exchange, or of the fabric's
   * own.
   */
  async #record(draft: EntryDraft): Promise<Committed> {
    const regained = this.#parts.lease.regain()
    if (regained !== null) await this.#regained(regained)
    this.#assertServing()
    this.#parts.space.assertSpace('reserved')
    this.#queue.pass()
    return this.#write(draft, null)
  }

  /** Everything up to the queue happens in one go, so that index, counter and order agree. */
  async #write(draft: EntryDraft, owner: string | null): Promise<Committed> {
    const { writer, index, terms, lease, clock } = this.#parts
    const { exchange, kind } = draft
    let bytes = 0
    try {
      // Before the entry has its index; nothing is awaited from here to the group.
      if (!lease.holds()) throw new LedgerUnavailable('the lease of the log slot has expired')
      const at = this.#nextIndex
      const entry = writer.write(draft, at)
      this.#nextIndex += 1
      bytes = entry.leaf.length + entry.detail.length
      this.#queue.wrote(bytes)
      index.add({ exchange, kind, index: at })
      terms.add(at, draft)
      if (kind === 'intent') this.#intents.add(draft, clock.monotonic())
      else if (closesExchange(kind)) this.#intents.remove(exchange)
      await this.#commit.add(at, entry)
      return { exchange, kind, index: at, leafHash: entry.leafHash }
    } finally {
      this.#queue.leave(owner, bytes)
    }
  }

  async findReceipt(exchange: string): Promise<Uint8Array | null> {
    const { origin, recovered } = this.#parts
    const entries = await this.#entriesOf(exchange)
    return findReceipt(exchange, entries, {
      ...{ origin, tree: recovered.tree },
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
    for (const exchange of checked.unclosed) await this.#checkInFlight(exchange, published.size)
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
      this.#queue.stop(new LedgerUnavailable('the ledger is closing'))
      await this.#commit.drain()
      await this.#publisher.flush()
      await this.#publisher.stop()
      await this.#parts.terms.stop()
      await this.#parts.groups.stop()
      if (this.#stopped === null) {
        await this.#heads.flush()
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

  /** An intent without an end is right only while the exchange is still being worked on. */
  async #checkInFlight(exchange: string, checkedSize: number): Promise<void> {
    const { index } = this.#parts
    if (index.open.has(exchange)) return
    const newer = (await index.find(exchange)).some((at) => at >= checkedSize)
    if (!newer) throw new LedgerDamage(`nothing closes the intent of ${exchange}`)
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
    this.#parts.space.stop()
    this.#reads.close(this.#stopped)
    this.#parts.onFatal(cause)
  }
}
