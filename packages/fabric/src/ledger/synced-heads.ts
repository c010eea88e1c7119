import type { Lease } from '../state/lease.ts'
import type { LedgerLimits } from './limits.ts'
import type { HeadStore, StoredHead } from './store.ts'

const synced: unique symbol = Symbol('synced')

/**
 * A head that no power loss takes back. Receipts and publication accept no other, and only
 * `SyncedHeads` makes one: a checkpoint that is not synced cannot leave this process.
 */
export interface SyncedHead extends StoredHead {
  readonly [synced]: true
}

export interface SyncedHeadsParts {
  readonly store: HeadStore
  readonly lease: Pick<Lease, 'regain'>
  readonly limits: Pick<LedgerLimits, 'headSyncMs'>
  /** Durable, as recovery left them. */
  readonly head: StoredHead
  readonly published: StoredHead
  readonly fatal: (cause: unknown) => void
}

/**
 * Hands out the heads of the log. A commit does not wait for the sync of its head: that takes place
 * before the first checkpoint that needs it leaves, once for all who ask meanwhile, and otherwise
 * within `headSyncMs`. So the log never ends below a checkpoint that was handed out, and a log that
 * does is damaged.
 */
export class SyncedHeads {
  readonly #parts: SyncedHeadsParts
  /** The newest acknowledged head, which the store has written. */
  #written: StoredHead
  #synced: SyncedHead
  #running: Promise<void> | null = null
  #timer: NodeJS.Timeout | null = null
  #stopped: { readonly cause: unknown } | null = null
  /** For which tiles were published before the start. */
  readonly published: SyncedHead

  constructor(parts: SyncedHeadsParts) {
    this.#parts = parts
    this.#written = parts.head
    this.#synced = { ...parts.head, [synced]: true }
    this.published = { ...parts.published, [synced]: true }
  }

  /** The commit of this head resolved, and its callers are being answered. */
  wrote(head: StoredHead): void {
    this.#written = head
    if (this.#stopped !== null) return
    // A process may end with this timer pending: the write-ahead log has everything.
    this.#timer ??= setTimeout(() => {
      this.flush().catch(() => undefined)
    }, this.#parts.limits.headSyncMs).unref()
  }

  /**
   * Resolves to the newest synced head, which covers the first `size` entries, once the lease is
   * held: its checkpoint may leave. Rejects when the store fails, which stops the ledger, or when
   * the lease is lost.
   */
  async release(size: number): Promise<SyncedHead> {
    if (size > this.#written.size) throw new RangeError('the head is not committed')
    // The sync that is under way may have begun before the commit of this size.
    while (this.#synced.size < size) await this.#sync()
    await this.#parts.lease.regain()
    return this.#synced
  }

  /** Resolves once every head that was committed before the call is durable. */
  async flush(): Promise<void> {
    const { size } = this.#written
    while (this.#synced.size < size) await this.#sync()
  }

  /** Waits for the sync at work; none follows, and no head is released that would need one. */
  async stop(cause: unknown): Promise<void> {
    this.#stopped ??= { cause }
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#running?.catch(() => undefined)
  }

  #sync(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = null
    })
    return this.#running
  }

  /** A failed sync is never tried again: the next one could resolve for what was lost. */
  async #run(): Promise<void> {
    if (this.#stopped !== null) throw this.#stopped.cause
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const head = this.#written
    try {
      await this.#parts.store.sync()
    } catch (cause) {
      this.#stopped ??= { cause }
      this.#parts.fatal(cause)
      throw cause
    }
    this.#synced = { ...head, [synced]: true }
  }
}
