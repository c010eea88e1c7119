import type { Clock } from '../lib/clock.ts'
import { Shares } from '../lib/limits.ts'
import type { LedgerLimits } from './limits.ts'
import { LedgerBusy, type LedgerUnavailable } from './unavailable.ts'

interface Waiter {
  readonly owner: string
  /** Monotonic milliseconds. */
  readonly until: number
  admit(): void
  refuse(cause: Error): void
}

type Bounds = Pick<
  LedgerLimits,
  'queueEntriesMax' | 'queueBytesMax' | 'waitingEntriesMax' | 'waitMsMax'
>

/**
 * Admits entries to the group commit. When its queue is full, callers wait in the order in which
 * they came; when too many wait, or one waits for too long, it refuses and names the limit. Entries
 * that close an exchange never wait here: their number is bounded by that of the open intents, and
 * refusing one would leave an exchange undecided that is over.
 */
export class AppendQueue {
  readonly #bounds: Bounds
  readonly #clock: Clock
  /** Of the queue and of what waits for it. */
  readonly #shares: Shares
  readonly #waiters = new Set<Waiter>()
  #entries = 0
  #bytes = 0
  /** True if `#expire` is due at some time. */
  #isTimed = false

  constructor(bounds: Bounds, clock: Clock) {
    this.#bounds = bounds
    this.#clock = clock
    this.#shares = new Shares(bounds.queueEntriesMax + bounds.waitingEntriesMax)
  }

  /** Entries on their way to the disk, and callers that wait for room among them. */
  get depth(): number {
    return this.#entries + this.#waiters.size
  }

  /** Null when the entry may be written at once, else a promise of its turn. Throws LedgerBusy. */
  enter(owner: string): Promise<void> | null {
    if (!this.#shares.hasSpace(owner)) throw this.#full()
    if (this.#waiters.size === 0 && this.#hasSpace) {
      this.#shares.take(owner)
      this.#entries += 1
      return null
    }
    if (this.#waiters.size >= this.#bounds.waitingEntriesMax) throw this.#full()
    this.#shares.take(owner)
    return this.#wait(owner)
  }

  /** For an entry that must not wait. */
  pass(): void {
    this.#entries += 1
  }

  wrote(bytes: number): void {
    this.#bytes += bytes
  }

  /** The entry is durable, or will never be. `owner` is null for one that passed. */
  leave(owner: string | null, bytes: number): void {
    this.#entries -= 1
    this.#bytes -= bytes
    if (owner !== null) this.#shares.give(owner)
    this.#admit()
  }

  stop(cause: LedgerUnavailable): void {
    for (const waiter of this.#waiters) this.#refuse(waiter, cause)
  }

  get #hasSpace(): boolean {
    const { queueEntriesMax, queueBytesMax } = this.#bounds
    return this.#entries < queueEntriesMax && this.#bytes < queueBytesMax
  }

  #wait(owner: string): Promise<void> {
    const until = this.#clock.monotonic() + this.#bounds.waitMsMax
    return new Promise((admit, refuse) => {
      this.#waiters.add({ owner, until, admit, refuse })
      this.#expireIn(this.#bounds.waitMsMax)
    })
  }

  #admit(): void {
    for (const waiter of this.#waiters) {
      if (!this.#hasSpace) return
      this.#waiters.delete(waiter)
      this.#entries += 1
      waiter.admit()
    }
  }

  #refuse(waiter: Waiter, cause: Error): void {
    this.#waiters.delete(waiter)
    this.#shares.give(waiter.owner)
    waiter.refuse(cause)
  }

  #expireIn(delayMs: number): void {
    if (this.#isTimed) return
    this.#isTimed = true
    setTimeout(() => this.#expire(), delayMs).unref()
  }

  #expire(): void {
    this.#isTimed = false
    const now = this.#clock.monotonic()
    const limit = { name: 'ledger.waitMs', value: this.#bounds.waitMsMax, unit: 'ms' } as const
    for (const waiter of this.#waiters) {
      if (waiter.until > now) {
        return this.#expireIn(waiter.until - now)
      }
      this.#refuse(waiter, new LedgerBusy(limit, 'the entry waited for too long'))
    }
  }

  #full(): LedgerBusy {
    const value = this.#bounds.waitingEntriesMax
    const limit = { name: 'ledger.waitingEntries', value, unit: 'count' } as const
    return new LedgerBusy(limit, 'too many entries wait to be written')
  }
}
