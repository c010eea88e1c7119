import { hash } from 'node:crypto'
import { equalBytes, isLeafExchange, parseUtf8, utf8 } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import type { CheckpointKey, CheckpointVerifier } from './checkpoint.ts'
import { countBundle } from './count-entries.ts'
import { referencesOf } from './details.ts'
import { type EntryReader, readLeaf } from './entry-reader.ts'
import { closesExchange, type ExchangeIndex } from './exchange-index.ts'
import { begunAt } from './exchange-segment.ts'
import { leafHash } from './hash.ts'
import type { Committed, EntryDraft } from './ledger.ts'
import type { LedgerLimits } from './limits.ts'
import { type RemovedFiles, removePruned } from './prune-files.ts'
import {
  formatPruned,
  PrunedCount,
  PrunedPart,
  type PrunedState,
  parsePruned,
  prunedPath,
} from './pruned-part.ts'
import type { KeptBy, PruneOrder, PrunePlan, PruneResult } from './pruning.ts'
import type { ReadTurns } from './read-turns.ts'
import { RETENTION_FILE, type RetentionNote } from './retention-note.ts'
import { dayMs, holdOf, policyDigest, type RetentionPolicy } from './retention-policy.ts'
import { LedgerDamage, type ResourceStore } from './store.ts'
import type { Subjects } from './subjects.ts'
import type { SyncedHead } from './synced-heads.ts'
import type { TermIndex } from './term-index.ts'
import { TileNodes } from './tile-nodes.ts'
import { parseBundle, tileHeight, tilePath, tileWidth } from './tiles.ts'
import type { Tree } from './tree.ts'

/** In the folder of the log from the decision to prune until the files are gone. */
const INTENT_FILE = 'pruning'
/** A process whose wall clock has gone ahead by more than this prunes nothing. */
const clockAheadMsMax = 3_600_000
/** Of each unit that a plan lists, for the estimate of its bytes. */
const sampledTiles = 4
const removalPauseMs = 5
const event = 'log-pruned'

export interface RetentionParts {
  readonly policy: RetentionPolicy | null
  readonly resources: ResourceStore
  readonly pruned: PrunedPart
  readonly key: CheckpointKey
  readonly tree: Tree
  readonly reader: EntryReader
  readonly index: ExchangeIndex
  readonly terms: TermIndex
  readonly subjects: Subjects
  readonly turns: ReadTurns
  readonly limits: LedgerLimits
  readonly clock: Clock
  newId(): string
  published(): SyncedHead
  record(draft: EntryDraft): Promise<Committed>
  /** Resolves once the public checkpoint covers what was recorded before. */
  flush(): Promise<unknown>
  log(event: string, facts: Readonly<Record<string, string | number>>): void
}

interface Bound {
  readonly keptBy: KeptBy
  readonly keptByName: string | null
}

interface Intent {
  readonly minimum: number
  /** Of the entry that records the pruning. */
  readonly exchange: string
}

/** Reads the statement about the pruned entries; rejects with LedgerDamage where it was changed. */
export async function loadPruned(
  resources: ResourceStore,
  key: CheckpointVerifier,
): Promise<PrunedPart> {
  const note = await resources.read(RETENTION_FILE)
  if (note === null) return new PrunedPart()
  const { minimum, state } = key.parseRetention(textOf(note, 'the retention note is not text'))
  const bytes = await resources.read(prunedPath(minimum))
  if (bytes === null || !equalBytes(hash('sha256', bytes, 'buffer'), state)) {
    throw new LedgerDamage('the state of the pruned entries is missing, or is not the stated one')
  }
  const pruned = parsePruned(textOf(bytes, 'the state of the pruned entries is damaged'))
  if (pruned.minimum !== minimum) throw new LedgerDamage('the state is of another minimum')
  return new PrunedPart(pruned)
}

function textOf(bytes: Uint8Array, fault: string): string {
  try {
    return parseUtf8(bytes)
  } catch (cause) {
    throw new LedgerDamage(fault, { cause })
  }
}

/**
 * Removes entries that are older than the policy keeps, in whole units, and keeps the hash tiles:
 * every proof can be made as before. In this order: the intent, the entry that records it, which is
 * published, the signed note, the files, the end of the intent.
 */
export class Retention {
  readonly #parts: RetentionParts
  readonly #needs = new Map<string, () => number | null>()
  /** Bytes of each unit, by its first entry. */
  readonly #bytes = new Map<number, number>()
  readonly #wallAtStart: number
  readonly #monotonicAtStart: number
  #isStopped = false

  constructor(parts: RetentionParts) {
    this.#parts = parts
    this.#wallAtStart = parts.clock.now()
    this.#monotonicAtStart = parts.clock.monotonic()
  }

  /**
   * Keeps the entries from `position` on, as long as it is not null, until the returned function is
   * called.
   */
  keepFrom(name: string, position: () => number | null): () => void {
    this.#needs.set(name, position)
    return () => this.#needs.delete(name)
  }

  stop(): void {
    this.#isStopped = true
  }

  async plan(): Promise<PrunePlan> {
    const { policy, pruned, clock, index, reader } = this.#parts
    const first = pruned.minimum
    const { size } = this.#parts.published()
    const before = policy === null ? null : clock.now() - policy.keepDays * dayMs
    let minimum = first
    let bytes = 0
    let newestAt: number | null = null
    let bound = await this.#boundOf(minimum)
    while (bound === null) {
      const end = minimum + this.#unit
      newestAt = (await index.timesBetween(minimum, end))?.begunLast ?? newestAt
      bytes += await this.#bytesOf(minimum)
      minimum = end
      bound = await this.#boundOf(minimum)
    }
    const oldest = minimum === first ? null : await reader.read(first)
    const oldestAt = oldest?.leaf.at ?? null
    const keepDays = policy?.keepDays ?? null
    return { ...{ keepDays, first, minimum, size, oldestAt, newestAt, before, bytes }, ...bound }
  }

  /** To be called while nothing else needs the whole log. */
  async prune({ exchange }: PruneOrder): Promise<PruneResult> {
    const { pruned, limits } = this.#parts
    const first = pruned.minimum
    let state = pruned.state
    let bound = await this.#boundOf(first)
    for (let units = 0; bound === null; units++) {
      if (units === limits.pruneUnitsMax) bound = kept('turn')
      else {
        const count = new PrunedCount(state)
        bound = await this.#countUnit(state.minimum, count)
        if (bound !== null) break
        state = count.stateAt(state.minimum + this.#unit)
        bound = await this.#boundOf(state.minimum)
      }
    }
    const { minimum } = state
    if (minimum === first) {
      return { first, minimum, entry: null, ...{ files: 0, bytes: 0, failed: 0 }, ...bound }
    }
    const entry = await this.#record(first, minimum, exchange)
    const { files, bytes, failed } = await this.#carryOut(state, entry)
    return { first, minimum, entry, files, bytes, failed, ...bound }
  }

  /** Completes what a crash has left. To be called once, behind the publication of a start. */
  async resume(): Promise<void> {
    const { pruned, resources } = this.#parts
    await this.#assertBundles()
    const bytes = await resources.read(INTENT_FILE)
    const intent = bytes === null ? null : parseIntent(bytes)
    if (intent !== null && intent.minimum > pruned.minimum) await this.#complete(intent)
    else if (pruned.minimum > 0) this.#report(await this.#remove(0))
    if (bytes !== null) await resources.remove([INTENT_FILE])
  }

  get #unit(): number {
    const { pruneEntries, segmentEntries, termSegmentEntries } = this.#parts.limits
    const isWhole = [tileWidth, segmentEntries, termSegmentEntries].every(
      (each) => pruneEntries % each === 0,
    )
    if (!isWhole) throw new RangeError('a unit of pruning has whole tiles and segments')
    return pruneEntries
  }

  /** The reason why the unit that begins at `first` stays; null where it may go. */
  async #boundOf(first: number): Promise<Bound | null> {
    const { policy, index, limits, clock, subjects } = this.#parts
    if (policy === null) return kept('policy')
    const end = first + this.#unit
    if (end > this.#parts.published().size) return kept('publication')
    const elapsed = clock.monotonic() - this.#monotonicAtStart
    if (clock.now() - this.#wallAtStart - elapsed > clockAheadMsMax) return kept('clock')
    if (subjects.isErasing) return kept('erasure')
    for (const [name, position] of this.#needs) {
      const at = position()
      if (at !== null && at < end) return kept('reader', name)
    }
    const open = index.oldestOpen
    if (open !== null && open.index < end) return kept('exchange', open.exchange)
    const times = await index.timesBetween(first, end)
    if (times === null) return kept('publication')
    // Its last entry came at most so long after an exchange began.
    const last = times.begunLast + limits.openIntentMs
    if (last >= this.#cutoff(policy)) return kept('age')
    const hold = holdOf(policy, times.begunFirst, last)
    return hold === null ? null : kept('hold', hold.name)
  }

  #cutoff({ keepDays }: RetentionPolicy): number {
    return this.#parts.clock.now() - keepDays * dayMs
  }

  /** Reads a unit. Returns what keeps one of its entries, by its own time. */
  async #countUnit(first: number, count: PrunedCount): Promise<Bound | null> {
    const { policy } = this.#parts
    let bound: Bound | null = null
    await this.#visit(first, first + this.#unit, count, (at, begun) => {
      if (bound !== null || policy === null) return
      if (Math.max(at, begun) >= this.#cutoff(policy)) bound = kept('age')
      const hold = holdOf(policy, at, at) ?? holdOf(policy, begun, begun)
      if (hold !== null) bound = kept('hold', hold.name)
    })
    return bound
  }

  /** Visits whole bundles, in turns of the event loop that all readers share. */
  async #visit(
    first: number,
    end: number,
    count: PrunedCount,
    visit: (at: number, begun: number) => void,
  ): Promise<void> {
    const { resources, turns, tree, pruned } = this.#parts
    const pace = turns.paceOf('')
    for (let from = first; from < end; from += tileWidth) {
      if (this.#isStopped) throw new Error('the ledger is closing')
      const tile = from / tileWidth
      const bundle = await this.#readPlain(tilePath('entries', tile))
      await this.#assertPlain(tilePath('detail', tile))
      const references: (readonly Uint8Array[])[] = []
      await countBundle(from, from + tileWidth, { resources, pruned }, (at, detail) => {
        references.push(referencesOf(at, detail))
      })
      const nodes = new TileNodes()
      for (const [i, encoded] of parseBundle(bundle, tileWidth).entries()) {
        const turn = pace()
        if (turn !== null) await turn
        const index = from + i
        const { at, exchange, kind } = readLeaf(encoded, index)
        nodes.push(leafHash(encoded))
        visit(at, begunAt(exchange))
        count.add(exchange, references[i] ?? [])
        if (kind === 'intent') count.open.set(exchange, index)
        else if (closesExchange(kind)) count.open.delete(exchange)
      }
      // Nothing of it can be read again.
      if (!nodes.node(tileHeight, 0).equals(await tree.tileRoot(tile))) {
        throw new LedgerDamage(`entry bundle ${tile} is not the one that was hashed`)
      }
    }
  }

  async #readPlain(path: string): Promise<Uint8Array> {
    await this.#assertPlain(path)
    const bytes = await this.#parts.resources.read(path)
    if (bytes === null) throw new LedgerDamage(`${path} is missing`)
    return bytes
  }

  /** Reading a pipe in its place would never end. */
  async #assertPlain(path: string): Promise<void> {
    const found = await this.#parts.resources.stat(path)
    if (found === null) throw new LedgerDamage(`${path} is missing`)
    if (found.kind !== 'file') throw new LedgerDamage(`${path} is not a file`)
  }

  /** On record, and published, when it resolves to the index of the entry. */
  async #record(first: number, minimum: number, operation: string | null): Promise<number> {
    const { policy, resources, tree, key, clock, newId, record, flush } = this.#parts
    if (policy === null) throw new TypeError('nothing is pruned without a policy')
    const exchange = newId()
    const published = this.#parts.published()
    const intent = utf8(`${JSON.stringify({ v: 1, minimum, exchange })}\n`)
    await resources.write([{ path: INTENT_FILE, bytes: intent }])
    const facts = {
      ...{ event, 'log.from': first, 'log.minimum': minimum },
      ...{ 'log.root': await tree.rootAt(minimum), 'keep-days': policy.keepDays },
      'policy.digest': policyDigest(policy),
      'checkpoint.size': published.size,
      'checkpoint.root': key.parseSigned(published.checkpoint).root,
      ...(operation === null ? {} : { 'changed-by': operation }),
    }
    const { index } = await record({ kind: 'lifecycle', exchange, at: clock.now(), facts })
    await flush()
    return index
  }

  /** The entry `entry` is published. */
  async #carryOut(state: PrunedState, entry: number): Promise<RemovedFiles> {
    const { resources, pruned, index, terms, key, tree } = this.#parts
    const { minimum } = state
    const stated = await this.#statedBy(entry)
    const bytes = utf8(formatPruned(state))
    const note: RetentionNote = {
      ...{ minimum, entry, keepDays: stated.keepDays, policy: stated.policy },
      ...{ root: await tree.rootAt(minimum), state: hash('sha256', bytes, 'buffer') },
    }
    // Under a name of its own, and durable before the note that states its hash.
    await resources.write([{ path: prunedPath(minimum), bytes }])
    await resources.write([{ path: RETENTION_FILE, bytes: utf8(key.signRetention(note)) }])
    pruned.raise(state)
    this.#bytes.clear()
    index.forgetPruned()
    terms.forgetPruned(minimum)
    const removed = await this.#remove(removalPauseMs)
    if (!this.#isStopped) await resources.remove([INTENT_FILE])
    this.#report(removed)
    return removed
  }

  async #statedBy(index: number) {
    const [entry] = await this.#parts.reader.readFew([index])
    const valueOf = (name: string) => entry?.facts.find((fact) => fact.name === name)?.value
    const [from, minimum, root] = [valueOf('log.from'), valueOf('log.minimum'), valueOf('log.root')]
    const [keepDays, policy] = [valueOf('keep-days'), valueOf('policy.digest')]
    const isPruning =
      entry?.leaf.kind === 'lifecycle' &&
      valueOf('event') === event &&
      typeof from === 'number' &&
      typeof minimum === 'number' &&
      typeof keepDays === 'number' &&
      root instanceof Uint8Array &&
      policy instanceof Uint8Array
    if (!isPruning) throw new LedgerDamage(`entry ${index} does not record a pruning`)
    return { from, minimum, root, keepDays, policy }
  }

  #remove(pauseMs: number): Promise<RemovedFiles> {
    const { resources, pruned, limits } = this.#parts
    const { segmentEntries, termSegmentEntries } = limits
    return removePruned({
      ...{ resources, minimum: pruned.minimum, segmentEntries, termSegmentEntries, pauseMs },
      isStopped: () => this.#isStopped,
    })
  }

  #report({ files, bytes, faults, failed }: RemovedFiles): void {
    if (files > 0) this.#parts.log('files of pruned entries were removed', { files, bytes })
    for (const fault of faults) {
      this.#parts.log('a file of pruned entries could not be removed', { fault, failed })
    }
  }

  /**
   * Nothing has happened where the entry of an intent is not on record. The policy may have another
   * hold by now: no file is gone yet, and the intent of what it keeps is dropped.
   */
  async #complete({ minimum, exchange }: Intent): Promise<void> {
    const { index, pruned, tree } = this.#parts
    const [entry] = await index.find(exchange)
    if (entry === undefined) return
    const stated = await this.#statedBy(entry)
    const isIts = stated.minimum === minimum && stated.from === pruned.minimum
    if (!isIts || !equalBytes(await tree.rootAt(minimum), stated.root)) throw damagedIntent()
    let { state } = pruned
    while (state.minimum < minimum) {
      const count = new PrunedCount(state)
      const bound =
        (await this.#boundOf(state.minimum)) ?? (await this.#countUnit(state.minimum, count))
      if (bound !== null) {
        const { keptBy, keptByName } = bound
        this.#parts.log('a pruning is not completed: its entries are kept now', {
          ...{ entry, 'kept-by': keptBy, name: keptByName ?? '' },
        })
        return
      }
      state = count.stateAt(state.minimum + this.#unit)
    }
    if (state.minimum !== minimum) throw damagedIntent()
    await this.#carryOut(state, entry)
  }

  /** Bundles that are missing without a statement would otherwise show at the first read. */
  async #assertBundles(): Promise<void> {
    const { resources, pruned } = this.#parts
    const { size } = this.#parts.published()
    if (pruned.minimum > size) throw new LedgerDamage('the retention note is ahead of the log')
    if (size - pruned.minimum < tileWidth) return
    const path = tilePath('entries', pruned.minimum / tileWidth)
    if ((await resources.stat(path)) !== null) return
    throw new LedgerDamage(`${path} is missing, and no retention note states that it was pruned`)
  }

  async #bytesOf(first: number): Promise<number> {
    const known = this.#bytes.get(first)
    if (known !== undefined) return known
    const { resources } = this.#parts
    const tiles = this.#unit / tileWidth
    const sampled = Math.min(tiles, sampledTiles)
    let bytes = 0
    for (let i = 0; i < sampled; i++) {
      const tile = first / tileWidth + Math.floor((i * tiles) / sampled)
      for (const kind of ['entries', 'detail'] as const) {
        bytes += (await resources.stat(tilePath(kind, tile)))?.bytes ?? 0
      }
    }
    const estimate = Math.round((bytes * tiles) / sampled)
    this.#bytes.set(first, estimate)
    return estimate
  }
}

function kept(keptBy: KeptBy, keptByName: string | null = null): Bound {
  return { keptBy, keptByName }
}

function parseIntent(bytes: Uint8Array): Intent {
  try {
    const { minimum, exchange }: Partial<Record<keyof Intent, unknown>> = JSON.parse(
      parseUtf8(bytes),
    )
    const isPlace = typeof minimum === 'number' && Number.isSafeInteger(minimum)
    if (isPlace && minimum > 0 && minimum % tileWidth === 0 && isLeafExchange(exchange)) {
      return { minimum, exchange }
    }
  } catch (cause) {
    throw damagedIntent(cause)
  }
  throw damagedIntent()
}

function damagedIntent(cause?: unknown): LedgerDamage {
  const next = 'nothing is lost: remove the file, start, and prune again'
  return new LedgerDamage(`the file ${INTENT_FILE} in the folder of the log is damaged; ${next}`, {
    cause,
  })
}
