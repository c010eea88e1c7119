import { LoopTurns } from '../concurrency/loop-turns.ts'
import { Shares } from '../lib/limits.ts'
import type { LedgerLimits } from './limits.ts'
import { LedgerBusy } from './unavailable.ts'

/**
 * To be called before each step of a reader: one entry that is opened, one key that is looked up.
 * Null where the reader goes on at once; otherwise it waits for its turn.
 */
export type Pace = () => Promise<void> | null

type Bounds = Pick<LedgerLimits, 'readsMax' | 'readsPerOwnerMax'>

/**
 * The turns of the readers of the log, and their places. A read of entries that are in memory never
 * lets the loop turn by itself, and neither do the rows of an index. In each turn one read goes on;
 * owners take turns, so that one with many reads holds up its own, and neither those of others nor
 * a request.
 */
export class ReadTurns {
  readonly #limits: Bounds
  readonly #shares: Shares
  /** In which as much waits as there are places and followers, which have bounds of their own. */
  readonly #turns: LoopTurns

  constructor(limits: Bounds, now?: () => number) {
    this.#limits = limits
    this.#turns = new LoopTurns(now)
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
    const pace = (): Promise<void> | null => this.#turns.next(pace, owner)
    return pace
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
