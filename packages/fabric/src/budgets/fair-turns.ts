import { systemClock } from '../lib/clock.ts'

/**
 * Time that work of one kind may take in one turn of the event loop before everything else is
 * served.
 */
const turnMs = 1
/** So that a turn ends on a clock that stands still or is set back, too. */
const piecesMax = 64

/**
 * Divides the event loop between the streams of a process and everything else. Work that is always
 * ready, such as the next of ten thousand tiny events, never lets the loop turn: its promises
 * resolve in the same turn. All streams together have `turnMs` in each turn, and `piecesMax` events
 * or frames; beyond that they wait in a queue, of which one goes on in each turn, and a waiting
 * stream reads no further.
 */
export class FairTurns {
  readonly #now: () => number
  #waiting: { readonly owner: object; resume(): void }[] = []
  /** The owner that continues in this turn, while others wait. */
  #owner: object | null = null
  #endsAt = Number.NEGATIVE_INFINITY
  #pieces = 0
  #isScheduled = false

  constructor(now: () => number = () => systemClock.monotonic()) {
    this.#now = now
  }

  /** Null where `owner` may go on at once. */
  next(owner: object): Promise<void> | null {
    const now = this.#now()
    if (!this.#isScheduled) {
      this.#schedule()
      this.#endsAt = now + turnMs
    }
    const mayGo = this.#waiting.length === 0 || this.#owner === owner
    if (mayGo && now < this.#endsAt && this.#pieces < piecesMax) {
      this.#pieces += 1
      return null
    }
    return new Promise((resume) => this.#waiting.push({ owner, resume }))
  }

  #schedule(): void {
    this.#isScheduled = true
    setImmediate(() => this.#turn())
  }

  #turn(): void {
    this.#isScheduled = false
    this.#pieces = 0
    const first = this.#waiting.shift()
    this.#owner = first?.owner ?? null
    if (first === undefined) return
    this.#schedule()
    this.#endsAt = this.#now() + turnMs
    first.resume()
  }
}

/** The turns of all streams of this process: events, and frames in both directions. */
export const streamTurns = new FairTurns()
