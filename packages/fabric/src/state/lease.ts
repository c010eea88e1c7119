import { ListenerSet } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import type { LeaseStore } from './lease-store.ts'

/** Another process may hold the lease, or does. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost'
}

/** A lease as the process that holds it asks about it. */
export interface Lease {
  readonly name: string
  /** Grows with each holder, so that a store can refuse the writes of an earlier one. */
  readonly token: number
  /** Reports whether no other process can hold the lease now. Costs one look at the clock. */
  holds(): boolean
  /**
   * Null while the lease is held, which costs nothing. Otherwise resolves once it is renewed, and
   * rejects with LeaseLost when another process took it, or when the store cannot be asked.
   */
  regain(): Promise<void> | null
  /** Called once, when the lease is lost for good. */
  onLost(listener: (cause: LeaseLost) => void): () => void
}

export interface LeaseOptions {
  readonly store: LeaseStore
  readonly name: string
  readonly leaseMs: number
  readonly note: string
  readonly isFormerEnded: boolean
  readonly clock: Pick<Clock, 'monotonic'>
}

/** Renewals in the time of one lease: two may fail. */
const renewalsPerLease = 3
/**
 * The part of a lease that its holder does not use: clocks of two machines run at different rates,
 * by less than a thousandth.
 */
const unusedShare = 0.01
/** Tries in the time of one lease, where the store does not answer and the lease has expired. */
const retriesPerLease = 20

/** Returns the lease, or null while another process holds it. */
export async function takeLease(options: LeaseOptions): Promise<HeldLease | null> {
  const { store, name, leaseMs, note, isFormerEnded, clock } = options
  // Before the request is sent: by the clock of the store, the lease ends later than here.
  const sentAt = clock.monotonic()
  const token = await store.take({ name, leaseMs, note, isFormerEnded })
  return token === null ? null : new HeldLease(options, { token, sentAt })
}

/**
 * Keeps a lease. Its end is counted on the monotonic clock from before each renewal was sent, so
 * that a process that was paused finds it expired, whatever the store has stored since.
 */
export class HeldLease implements Lease {
  readonly name: string
  readonly token: number
  readonly #options: LeaseOptions
  readonly #lostListeners = new ListenerSet<LeaseLost>()
  /** Monotonic milliseconds. */
  #until: number
  #note: string
  #lost: LeaseLost | null = null
  #renewing: Promise<void> | null = null
  #timer: NodeJS.Timeout | null = null
  #isReleased = false

  constructor(options: LeaseOptions, taken: { readonly token: number; readonly sentAt: number }) {
    this.#options = options
    this.name = options.name
    this.token = taken.token
    this.#note = options.note
    this.#until = this.#endFrom(taken.sentAt)
  }

  holds(): boolean {
    return this.#lost === null && this.#options.clock.monotonic() < this.#until
  }

  regain(): Promise<void> | null {
    return this.holds() ? null : this.#regain()
  }

  onLost(listener: (cause: LeaseLost) => void): () => void {
    return this.#lostListeners.add(listener)
  }

  /** Renews on its own from now on, until it is released or lost. Keeps no process alive. */
  start(): void {
    if (this.#isReleased || this.#lost !== null) return
    this.#timer = setTimeout(() => {
      // A failure of the store recurs in the next renewal, or ends when the store recovers.
      const renewed = this.holds() ? this.renew() : this.#regain()
      void renewed.catch(() => undefined).finally(() => this.start())
    }, this.#options.leaseMs / renewalsPerLease).unref()
  }

  /** Shown to readers of the store from the next renewal on, which is sent now. */
  async publish(note: string): Promise<void> {
    this.#note = note
    await this.#renewing?.catch(() => undefined)
    return this.renew()
  }

  /** One renewal. Rejects when the store cannot be asked, and with LeaseLost. */
  renew(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = null
    })
    return this.#renewing
  }

  /** After the last use of what the lease guards: another process may take it at once. */
  async release(): Promise<void> {
    this.#isReleased = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#renewing?.catch(() => undefined)
    if (this.#lost !== null) return
    this.#lost = new LeaseLost(`the lease of ${this.name} was released`)
    await this.#options.store.release({ name: this.name, token: this.token })
  }

  async #renew(): Promise<void> {
    if (this.#lost !== null) throw this.#lost
    const { name, token } = this
    const { store, leaseMs, clock } = this.#options
    const sentAt = clock.monotonic()
    const isRenewed = await store.renew({ name, token, leaseMs, note: this.#note })
    if (!isRenewed) throw this.#lose('another process took it while this one did not renew it')
    this.#until = Math.max(this.#until, this.#endFrom(sentAt))
  }

  /**
   * The lease expired, or was lost. If the store still has our token, no other process held it in
   * between, and the work goes on. Bounded by the time of one more lease.
   */
  async #regain(): Promise<void> {
    const { leaseMs, clock } = this.#options
    const giveUpAt = clock.monotonic() + leaseMs
    for (;;) {
      if (this.#lost !== null) throw this.#lost
      let fault: unknown = 'the answer came too late'
      try {
        await this.renew()
      } catch (cause) {
        if (cause instanceof LeaseLost) throw cause
        fault = cause
      }
      if (this.holds()) return
      if (clock.monotonic() >= giveUpAt) {
        throw this.#lose('it could not be renewed in time', fault)
      }
      await new Promise((wait) => setTimeout(wait, leaseMs / retriesPerLease))
    }
  }

  #lose(why: string, cause?: unknown): LeaseLost {
    if (this.#lost !== null) return this.#lost
    if (this.#timer !== null) clearTimeout(this.#timer)
    const message = `the lease of log slot ${this.name} (token ${this.token}) is lost: ${why}`
    this.#lost = new LeaseLost(message, { cause })
    this.#lostListeners.notify(this.#lost)
    return this.#lost
  }

  #endFrom(sentAt: number): number {
    return sentAt + this.#options.leaseMs * (1 - unusedShare)
  }
}
