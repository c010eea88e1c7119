import { FairQueue } from '../concurrency/fair-queue.ts'
import { systemClock } from '../lib/clock.ts'
import { Shares } from '../lib/limits.ts'
import type { LedgerLimits } from './limits.ts'
import { LedgerBusy } from './unavailable.ts'

/** Time that all readers together take of one turn of the event loop. */
const turnMs = 1
/** So that a turn ends on a clock that stands still or is set back, too. */
const stepsMax = 64

/**
 * To be called before each step of a reader: one entry that is opened, one key that is looked up.
 * Null where the reader goes on at once; otherwise it waits for its turn.
 */
export type Pace = () => Promise<void> | null

interface Waiting {
  readonly pace: Pace
  resume(): void
}

type Bounds = Pick<LedgerLimits, 'readsMax' | 'readsPerOwnerMax'>

/**
 * Divides the event loop between the readers of the log and everything else. A read of entries that
 * are in memory never lets the loop turn by itself, and neither do the rows of an index. In each
 * turn one read goes on, for `turnMs`; owners take turns, so that one with many reads holds up its
 * own, and neither those of others nor a request.
 */
export class ReadTurns {
  readonly #limits: Bounds
  readonly #now: () => number
  readonly #shares: Shares
  /** As many as there are places and followers, which have bounds of their own. */
  readonly #waiting = new FairQueue<Waiting>(Number.POSITIVE_INFINITY)
  /** The read that goes on in this turn, while others wait. */
  #running: Pace | null = null
  #endsAt = Number.NEGATIVE_INFINITY
  #steps = 0
  #isScheduled = false

  constructor(limits: Bounds, now: () => number = () => systemClock.monotonic()) {
    this.#limits = limits
    this.#now = now
    this.#shares = new Shares(limits.readsMax, limits.readsPerOwnerMax)
  }

  /** Runs one read in a place of its owner. Rejects with LedgerBusy where there is none. */
  async run<Result>(owner: string, read: (pace: Pace) => Promise<Result>): Promise<Result> {
    if (!this.#shares.hasSpace(owner)) throw this.#full()
    this.#shares.take(owner)
    try {
      return await read(this.paceOf(owner))
    } finally {
      this.#shares.give(owner)
    }
  }

  /** The pace of work that has its place elsewhere. */
  paceOf(owner: string): Pace {
    const pace = (): Promise<void> | null => this.#next(owner, pace)
    return pace
  }

  #next(owner: string, pace: Pace): Promise<void> | null {
    const now = this.#now()
    if (!this.#isScheduled) {
      this.#schedule()
      this.#endsAt = now + turnMs
    }
    const mayGo = this.#waiting.size === 0 || this.#running === pace
    if (mayGo && now < this.#endsAt && this.#steps < stepsMax) {
      this.#steps += 1
      return null
    }
    return new Promise((resume) => {
      this.#waiting.push(owner, { pace, resume })
    })
  }

  #schedule(): void {
    this.#isScheduled = true
    setImmediate(() => this.#turn())
  }

  #turn(): void {
    this.#isScheduled = false
    this.#steps = 0
    const [first] = this.#waiting.take(1)
    this.#running = first?.pace ?? null
    if (first === undefined) return
    this.#schedule()
    this.#endsAt = this.#now() + turnMs
    first.resume()
  }

  #full(): LedgerBusy {
    const { readsMax, readsPerOwnerMax } = this.#limits
    const limit =
      this.#shares.share === readsPerOwnerMax
        ? ({ name: 'ledger.readsPerReader', value: readsPerOwnerMax } as const)
        : ({ name: 'ledger.reads', value: readsMax } as const)
    return new LedgerBusy({ ...limit, unit: 'count' }, 'too many reads of the log are under way')
  }
}
