import { SEALED_BYTES_MAX } from '@countersign/protocol'
import { overLimit } from '../lib/limits.ts'
import type { Refusal } from '../lib/refusal.ts'

export interface LeaseMemoryLimits {
  /** Bytes of messages, with their copies, that all receivers together may occupy. */
  readonly totalBytesMax: number
  readonly identityBytesMax: number
  /** Requests of one identity that wait for those before them to be read. */
  readonly waitingMax: number
  /** The longest that a request waits for earlier responses to leave. */
  readonly waitMs: number
}

const mebibyte = 1024 * 1024

export const leaseMemoryDefault: LeaseMemoryLimits = {
  totalBytesMax: 128 * mebibyte,
  identityBytesMax: 32 * mebibyte,
  waitingMax: 256,
  waitMs: 5_000,
}

/**
 * Bytes that are read lie in the buffer of their transaction, and once more in the object that they
 * were copied from or to.
 */
export const copies = 2
/** Room for one message of the largest size: with less, nothing is read. */
const leastBytes = copies * SEALED_BYTES_MAX
const retryAfterMs = 1_000

interface Waiting {
  readonly least: number
  readonly most: number
  resolve(hold: Hold | Refusal): void
}

class Account {
  /** Of responses that have not left. */
  held = 0
  /** Of messages that are being read: as much as they may be at most. */
  reading = 0
  readonly waiting: Waiting[] = []
}

/**
 * Counts the memory of messages from before they are read from the disk until the response that
 * carries them has left. An identity may occupy its own share, and never more than is left for all
 * others. A request that finds no room waits for reads and responses that are under way: those of a
 * client that takes them are gone within milliseconds, so that its parallel leases share its room.
 * After `waitMs` the answer is `OVERLOADED`; nothing was read, and no attempt is counted.
 */
export class LeaseMemory {
  readonly #limits: LeaseMemoryLimits
  readonly #accounts = new Map<string, Account>()
  #total = 0

  constructor(limits: LeaseMemoryLimits = leaseMemoryDefault) {
    this.#limits = limits
  }

  get totalBytes(): number {
    return this.#total
  }

  /** Room for at most `most` bytes of messages and their copies, and for at least one message. */
  reserve(identity: string, most: number): Promise<Hold | Refusal> {
    return this.#reserve(identity, leastBytes, Math.max(leastBytes, copies * most))
  }

  /** Room for exactly this much, which is known before it is read. */
  reserveExactly(identity: string, bytes: number): Promise<Hold | Refusal> {
    return this.#reserve(identity, copies * bytes, copies * bytes)
  }

  #reserve(identity: string, least: number, most: number): Promise<Hold | Refusal> {
    const account = this.#accounts.get(identity) ?? new Account()
    this.#accounts.set(identity, account)
    if (account.waiting.length >= this.#limits.waitingMax) {
      return Promise.resolve(this.#overloaded())
    }
    if (least > Math.min(this.#limits.identityBytesMax, this.#limits.totalBytesMax)) {
      return Promise.resolve(this.#overloaded())
    }
    return new Promise((resolve) => {
      const waiting: Waiting = { least, most, resolve }
      account.waiting.push(waiting)
      this.#serve()
      if (account.waiting.includes(waiting)) this.#limit(account, waiting)
    })
  }

  #limit(account: Account, waiting: Waiting): void {
    const timer = setTimeout(() => {
      const at = account.waiting.indexOf(waiting)
      if (at < 0) return
      account.waiting.splice(at, 1)
      waiting.resolve(this.#overloaded())
      // The one behind it may need less.
      this.#serve()
    }, this.#limits.waitMs)
    timer.unref()
  }

  /** Each identity's first in turn, until none of them finds room. */
  #serve(): void {
    let isServed = true
    while (isServed) {
      isServed = false
      for (const [identity, account] of [...this.#accounts]) {
        isServed = this.#serveFirst(account) || isServed
        const { held, reading, waiting } = account
        if (held + reading + waiting.length === 0) this.#accounts.delete(identity)
      }
    }
  }

  #serveFirst(account: Account): boolean {
    const [first] = account.waiting
    const answer = first === undefined ? null : this.#answer(account, first)
    if (first === undefined || answer === null) return false
    account.waiting.shift()
    first.resolve(answer)
    return true
  }

  /** Null while there is not enough room. */
  #answer(account: Account, { least, most }: Waiting): Hold | null {
    const { totalBytesMax, identityBytesMax } = this.#limits
    const roomAt = (held: number, total: number): number =>
      Math.min(identityBytesMax, totalBytesMax - total) - held
    const room = roomAt(account.held + account.reading, this.#total)
    if (room >= least) {
      // Half of the room at most, so that there is some for the next request.
      return this.#open(account, Math.max(least, Math.min(most, Math.floor(room / 2))))
    }
    return null
  }

  #open(account: Account, bytes: number): Hold {
    account.reading += bytes
    this.#total += bytes
    return new Hold(bytes, (from, to) => {
      const read = from.isReading ? from.bytes : 0
      account.reading -= read
      account.held += to - (from.bytes - read)
      this.#total += to - from.bytes
      this.#serve()
    })
  }

  #overloaded(): Refusal {
    const { totalBytesMax: value } = this.#limits
    const limit = { name: 'queue.leaseMemoryBytes', value, unit: 'bytes' } as const
    return overLimit('OVERLOADED', limit, 'responses with messages occupy too much', retryAfterMs)
  }
}

interface Held {
  readonly bytes: number
  readonly isReading: boolean
}

/** The account of one request for messages. Released when its response has left. */
export class Hold {
  readonly #change: (from: Held, to: number) => void
  #held: Held

  constructor(bytes: number, change: (from: Held, to: number) => void) {
    this.#held = { bytes, isReading: true }
    this.#change = change
  }

  /** Bytes of messages that may be read. */
  get readBytesMax(): number {
    return Math.floor(this.#held.bytes / copies)
  }

  /** Keeps the bytes that were read on the account, at most as many as were reserved. */
  keep(bytes: number): void {
    const before = this.#held
    this.#held = { bytes: Math.min(bytes, before.bytes), isReading: false }
    this.#change(before, this.#held.bytes)
  }

  release(): void {
    if (this.#held.isReading || this.#held.bytes > 0) this.keep(0)
  }
}
