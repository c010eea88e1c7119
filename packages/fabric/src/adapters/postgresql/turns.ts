import { setDeadline } from '../../lib/clock.ts'

/** Calls that may wait for a turn; a call above it is refused at once. */
const waitingMax = 1_024

/** Lets a bounded number of calls run at once; each other one waits within a time limit. */
export class Turns {
  readonly #waitMs: number
  readonly #waiting: (() => void)[] = []
  #free: number

  constructor(max: number, waitMs: number) {
    this.#free = max
    this.#waitMs = waitMs
  }

  /** Runs `call` in a turn of its own. */
  async take<Result>(call: () => Promise<Result>): Promise<Result> {
    if (this.#free === 0) await this.#wait()
    else this.#free--
    try {
      return await call()
    } finally {
      this.#pass()
    }
  }

  /** In the order of the calls: a turn that is passed on is never free in between. */
  #pass(): void {
    const [next] = this.#waiting
    if (next === undefined) this.#free++
    else next()
  }

  #wait(): Promise<void> {
    if (this.#waiting.length >= waitingMax) {
      return Promise.reject(new Error('too many calls wait for PostgreSQL'))
    }
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        cancel()
        this.#waiting.splice(this.#waiting.indexOf(take), 1)
      }
      const take = (): void => {
        leave()
        resolve()
      }
      const says = `no connection to PostgreSQL was free within ${this.#waitMs} ms`
      const cancel = setDeadline(this.#waitMs, () => {
        leave()
        reject(new Error(says))
      })
      this.#waiting.push(take)
    })
  }
}
