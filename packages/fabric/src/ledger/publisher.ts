import { type ReceiptLevel, utf8 } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import type { Lease } from '../state/lease.ts'
import type { Cosigning } from './cosigning.ts'
import type { LedgerLimits } from './limits.ts'
import type { LedgerStore, Resource } from './store.ts'
import type { SyncedHead, SyncedHeads } from './synced-heads.ts'
import {
  encodeBundle,
  encodeDetails,
  levelWidth,
  type TileKind,
  tileLevelsMax,
  tilePath,
  tileWidth,
} from './tiles.ts'
import type { Tree } from './tree.ts'
import type { Window } from './window.ts'

export interface PublisherParts {
  readonly store: LedgerStore
  readonly lease: Pick<Lease, 'regain'>
  readonly tree: Tree
  readonly window: Window
  readonly limits: LedgerLimits
  readonly clock: Pick<Clock, 'monotonic'>
  readonly heads: Pick<SyncedHeads, 'published' | 'release'>
  readonly cosigning: Cosigning
  /** Called after a checkpoint is out; what it does delays the next one. */
  readonly after: (size: number) => Promise<void>
  readonly fatal: (cause: unknown) => void
}

/** A head for a receipt, and how far its checkpoint has come. */
export interface HandedOut {
  readonly head: SyncedHead
  readonly level: ReceiptLevel
}

/** Files of one write: bounds the memory of a round, and lets other work in between. */
const filesPerWrite = 16

/**
 * Turns acknowledged entries into tiles, behind their callers' backs. No hashing happens here: the
 * tree has kept every node that a tile holds.
 */
export class Publisher {
  readonly #parts: PublisherParts
  #published: SyncedHead
  #latestSize: number
  /** Monotonic time when the last round ended. */
  #endedAt = Number.NEGATIVE_INFINITY
  #running: Promise<void> | null = null
  #timer: ReturnType<typeof setTimeout> | null = null
  #stopped = false

  constructor(parts: PublisherParts) {
    this.#parts = parts
    this.#published = parts.heads.published
    this.#latestSize = parts.heads.published.size
  }

  get published(): SyncedHead {
    return this.#published
  }

  /**
   * The published head where it covers the first `size` entries; otherwise the newest synced one,
   * with the faults of `SyncedHeads.release`.
   */
  async handOut(size: number): Promise<HandedOut> {
    if (size <= this.#published.size) return { head: this.#published, level: 'published' }
    return { head: await this.#parts.heads.release(size), level: 'synced' }
  }

  /**
   * The first `size` entries were acknowledged. They appear within `publishDelayMs`, or within
   * `publishPauseMs` of the round before, if few of them wait.
   */
  announce(size: number): void {
    this.#latestSize = size
    if (this.#running !== null || this.#stopped) return
    const { clock, limits } = this.#parts
    const { publishDelayMs, publishPauseMs } = limits
    const waiting = size - this.#published.size
    const passedMs = clock.monotonic() - this.#endedAt
    const isDue = waiting >= limits.publishSoonEntries && passedMs >= publishDelayMs
    if (isDue || waiting >= limits.publishEntries) return this.#start()
    // A process may end with this timer pending: the write-ahead log has everything.
    this.#timer ??= setTimeout(
      () => this.#start(),
      Math.max(publishDelayMs, publishPauseMs - passedMs),
    ).unref()
  }

  /** Resolves when the unpublished entries are below their bound. */
  async room(): Promise<void> {
    const { window, limits } = this.#parts
    while (window.unpublishedBytes > limits.unpublishedBytesMax && !this.#stopped) {
      this.#start()
      await this.#running
    }
  }

  /** Resolves when everything announced so far is in tiles. */
  async flush(): Promise<void> {
    const target = this.#latestSize
    while (this.#published.size < target && !this.#stopped) {
      this.#start()
      await this.#running
    }
  }

  /** Waits for the round at work; none follows. */
  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#running
  }

  #start(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#stopped) return
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    try {
      await this.#publish(this.#latestSize)
    } catch (cause) {
      this.#stopped = true
      this.#parts.fatal(cause)
    } finally {
      this.#running = null
      this.#endedAt = this.#parts.clock.monotonic()
    }
    if (this.#latestSize > this.#published.size) this.announce(this.#latestSize)
  }

  /**
   * The head is synced, then come tiles and bundles, then witnesses, then the checkpoint, then the
   * write-ahead log is trimmed. A crash in between leaves files beyond the checkpoint, which are
   * never requested and which the next round writes over, or records that are in tiles already,
   * which start-up skips.
   */
  async #publish(size: number): Promise<void> {
    const { store, lease, tree, window, heads, cosigning, after } = this.#parts
    const before = this.#published.size
    if (size === before) return
    const signed = await heads.release(size)
    let batch: Resource[] = []
    for (const resource of this.#resources(before, signed.size)) {
      batch.push(resource)
      if (batch.length < filesPerWrite) continue
      await store.resources.write(batch)
      batch = []
    }
    if (batch.length > 0) await store.resources.write(batch)
    const head = await cosigning.pass(signed)
    await lease.regain()
    await store.resources.write([{ path: 'checkpoint', bytes: utf8(head.checkpoint) }])
    this.#published = head
    tree.release(head.size)
    window.publish(head.size)
    await store.wal.trim(head.size)
    await removePartials(store, before, head.size)
    await removeOldDetail(store, before)
    await after(head.size)
  }

  *#resources(before: number, size: number): Generator<Resource> {
    const { tree } = this.#parts
    for (const { tile, width } of changedTiles(before, size)) {
      const first = tile * tileWidth
      const entries = Array.from({ length: width }, (_, i) => this.#entry(first + i))
      const leaves = entries.map(({ leaf }) => leaf)
      yield { path: tilePath('entries', tile, width), bytes: encodeBundle(leaves) }
      const details = entries.map(({ detail }) => detail)
      yield { path: tilePath('detail', tile, width), bytes: encodeDetails(details) }
    }
    for (let level = 0; level <= tileLevelsMax; level++) {
      for (const { tile, width } of changedTiles(
        levelWidth(level, before),
        levelWidth(level, size),
      )) {
        const bytes = tree.unpublishedTile(level, tile, width)
        yield { path: tilePath(level, tile, width), bytes }
      }
    }
  }

  #entry(index: number) {
    const entry = this.#parts.window.find(index)
    if (entry === undefined)
      throw new Error(`entry ${index} left the window before it was in tiles`)
    return entry
  }
}

/**
 * The tiles that differ between a level of `before` hashes and one of `now`: all full but the last.
 */
function* changedTiles(before: number, now: number): Generator<{ tile: number; width: number }> {
  if (before === now) return
  for (let tile = Math.floor(before / tileWidth); tile * tileWidth < now; tile++) {
    yield { tile, width: Math.min(tileWidth, now - tile * tileWidth) }
  }
}

/** A partial tile may go once its full one exists (C2SP tlog-tiles). */
async function removePartials(store: LedgerStore, before: number, size: number): Promise<void> {
  const kinds: readonly TileKind[] = ['entries', 'detail', 0, 1, 2, 3, 4, 5, 6]
  for (const kind of kinds) {
    const level = typeof kind === 'number' ? kind : 0
    const tile = Math.floor(levelWidth(level, before) / tileWidth)
    const wasPartial = levelWidth(level, before) % tileWidth !== 0
    if (wasPartial && (tile + 1) * tileWidth <= levelWidth(level, size)) {
      await removePartialsOf(store, kind, tile)
    }
  }
}

/** Details are read only by us, and only those of the newest checkpoint. */
async function removeOldDetail(store: LedgerStore, before: number): Promise<void> {
  const width = before % tileWidth
  if (width === 0) return
  await store.resources.remove([tilePath('detail', Math.floor(before / tileWidth), width)])
}

async function removePartialsOf(store: LedgerStore, kind: TileKind, tile: number): Promise<void> {
  const directory = `${tilePath(kind, tile)}.p`
  const names = await store.resources.list(directory)
  await store.resources.remove([...names.map((name) => `${directory}/${name}`), directory])
}
