import { systemClock } from '../lib/clock.ts'
import { FairQueue } from './fair-queue.ts'

/**
 * Time that work of one kind may take in one turn of the event loop before everything else is
 * served.
 */
const turnMs = 1
/** So that a turn ends on a clock that stands still or is set back, too. */
const stepsMax = 64

interface Waiting {
  readonly work: object
  resume(): void
}

/**
 * Divides the event loop between work of one kind and everything else. Work that is always ready,
 * such as the next of ten thousand tiny events or of rows in memory, never lets the loop turn: its
 * promises resolve in the same turn. All of it together has `turnMs` in each turn, and `stepsMax`
 * steps; beyond that it waits in a queue, of which one piece of work goes on in each turn. Clients
 * take turns, so that one with much work holds up its own.
 */
export class LoopTurns {
  readonly #now: () => number
  /** One entry for each piece of work under way, whose number its owner bounds. */
  readonly #waiting = new FairQueue<Waiting>(Number.POSITIVE_INFINITY)
  /** The work that continues in this turn, while other work waits. */
  #running: object | null = null
  #endsAt = Number.NEGATIVE_INFINITY
  #steps = 0
  #isScheduled = false

  constructor(now: () => number = () => systemClock.monotonic()) {
    this.#now = now
  }

  /** To be called before each step of `work`. Null where it may go on at once. */
  next(work: object, client: string): Promise<void> | null {
    const now = this.#now()
    if (!this.#isScheduled) {
      this.#schedule()
      this.#endsAt = now + turnMs
    }
    const mayGo = this.#waiting.size === 0 || this.#running === work
    if (mayGo && now < this.#endsAt && this.#steps < stepsMax) {
      this.#steps += 1
      return null
    }
    return new Promise((resume) => {
      this.#waiting.push(client, { work, resume })
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
    this.#running = first?.work ?? null
    if (first === undefined) return
    this.#schedule()
    this.#endsAt = this.#now() + turnMs
    first.resume()
  }
}
