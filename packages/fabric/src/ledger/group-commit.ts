import type { Clock } from '../lib/clock.ts'
import type { Lease } from '../state/lease.ts'
import type { CheckpointKey } from './checkpoint.ts'
import type { WrittenEntry } from './leaf-writer.ts'
import type { LedgerLimits } from './limits.ts'
import { encodeRecord } from './record.ts'
import type { LedgerStore, StoredHead } from './store.ts'
import type { SyncedHeads } from './synced-heads.ts'
import type { Tree } from './tree.ts'

/** Entries that are in one group, next to each other. */
interface Waiting {
  readonly index: number
  readonly entries: readonly WrittenEntry[]
  readonly resolve: () => void
  readonly reject: (cause: unknown) => void
}

export interface GroupCommitParts {
  readonly store: LedgerStore
  readonly lease: Pick<Lease, 'regain' | 'token'>
  readonly tree: Tree
  readonly key: CheckpointKey
  readonly clock: Clock
  readonly limits: LedgerLimits
  readonly head: StoredHead
  /** Unix milliseconds for the next head. */
  readonly headTime: () => number
  /** Resolves when the backlog of unpublished entries has room for a group. */
  readonly room: () => Promise<void>
  /** Receives the heads that are acknowledged; no other part of the ledger has their signatures. */
  readonly heads: Pick<SyncedHeads, 'wrote'>
  /** Called between durability and acknowledgement, with the size that the group leads to. */
  readonly committed: (group: readonly WrittenEntry[], size: number) => void
  readonly fatal: (cause: unknown) => void
}

/**
 * Makes entries durable, many per sync: whatever arrives while one group is on its way to the disk
 * is the next group.
 */
export class GroupCommit {
  readonly #parts: GroupCommitParts
  /** Written only by `#commit`, which runs one at a time; readers see acknowledged heads only. */
  #head: StoredHead
  #queue: Waiting[] = []
  #running: Promise<void> | null = null
  #stopped: { readonly cause: unknown } | null = null
  #lastCommitMs: number | null = null

  constructor(parts: GroupCommitParts) {
    this.#parts = parts
    this.#head = parts.head
  }

  /** Acknowledged entries. */
  get size(): number {
    return this.#head.size
  }

  /** Unix milliseconds of their head. */
  get headAt(): number {
    return this.#head.at
  }

  get lastCommitMs(): number | null {
    return this.#lastCommitMs
  }

  /**
   * Resolves once the entries, of which the first has this index, would survive a power loss. They
   * are in one record, so that a crash loses none or all. Indexes come in order, without gaps.
   */
  add(index: number, ...entries: readonly WrittenEntry[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#stopped !== null) return reject(this.#stopped.cause)
      this.#queue.push({ index, entries, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  /** Resolves when nothing waits any more. */
  async drain(): Promise<void> {
    while (this.#running !== null) await this.#running
  }

  /** Nothing is acknowledged after this. */
  stop(cause: unknown): void {
    this.#stopped ??= { cause }
    for (const { reject } of this.#queue.splice(0)) reject(cause)
  }

  async #run(): Promise<void> {
    try {
      do {
        // One turn of the event loop: callers that were just answered can join this group.
        await new Promise(setImmediate)
        await this.#parts.room()
        await this.#commit(this.#take())
      } while (this.#queue.length > 0)
    } catch (cause) {
      this.#parts.fatal(cause)
    } finally {
      this.#running = null
    }
  }

  #take(): readonly Waiting[] {
    const { groupEntriesMax, groupBytesMax } = this.#parts.limits
    let taken = 0
    let count = 0
    let bytes = 0
    for (const { entries } of this.#queue) {
      const more = entries.reduce((sum, { leaf, detail }) => sum + leaf.length + detail.length, 0)
      const isFull = count + entries.length > groupEntriesMax || bytes + more > groupBytesMax
      if (taken > 0 && isFull) break
      taken++
      count += entries.length
      bytes += more
    }
    return this.#queue.splice(0, taken)
  }

  /**
   * 1. The record, entries and signed head together, is durable in the write-ahead log.
   * 2. The head is written to the head store, and not synced.
   * 3. The callers receive the result. `SyncedHeads` syncs the head before the signature leaves.
   *
   * A crash before 1 leaves a torn tail at worst: callers received nothing, it is discarded. A
   * crash after 1 leaves records beyond the durable head: start-up moves the head on to the same
   * signatures, so no second head of their sizes is ever signed. A head that is written before 1
   * would, after a crash, promise entries that are not stored anywhere, and that looks the same as
   * an attacker who cut them off.
   *
   * The lease is held before the signature and again before 3: a process that was paused finds that
   * another may append to this log. In between it may have written a record. A store that several
   * hosts reach refuses its token; elsewhere, the lock of the folder excludes the others.
   */
  async #commit(group: readonly Waiting[]): Promise<void> {
    const first = group[0]
    if (first === undefined) return
    try {
      const { store, lease, tree, key, clock, heads, committed, headTime } = this.#parts
      await lease.regain()
      if (first.index !== tree.size) throw new Error('the group does not continue the tree')
      const entries = group.flatMap((waiting) => waiting.entries)
      for (const { leafHash } of entries) tree.append(leafHash)
      const checkpoint = key.signCheckpoint(tree.size, tree.root())
      const at = Math.max(headTime(), this.#head.at)
      const head = { size: tree.size, at, checkpoint }

      const began = clock.monotonic()
      await store.commit({
        firstIndex: first.index,
        count: entries.length,
        body: encodeRecord({ entries, head }),
        previousSize: this.#head.size,
        head,
        fence: lease.token,
      })
      this.#lastCommitMs = clock.monotonic() - began

      await lease.regain()
      if (this.#stopped !== null) throw this.#stopped.cause
      this.#head = head
      heads.wrote(head)
      committed(entries, head.size)
    } catch (cause) {
      for (const { reject } of group) reject(cause)
      throw cause
    }
    await acknowledge(group)
  }
}

/**
 * The next steps of callers, such as signing their next entries, must not hold up everything else.
 */
const acknowledgedAtOnce = 64

async function acknowledge(group: readonly Waiting[]): Promise<void> {
  for (const [i, { resolve }] of group.entries()) {
    if (i > 0 && i % acknowledgedAtOnce === 0) await new Promise(setImmediate)
    resolve()
  }
}
