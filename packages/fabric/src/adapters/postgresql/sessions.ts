import { setDeadline } from '../../lib/clock.ts'
import type { Session } from './session.ts'

/** Connections of one store to the server, at most; one more listens for wake-ups. */
export const SESSIONS_MAX = 4
/** Calls that may wait for a connection; a call above it is refused at once. */
const waitingMax = 1_024

/**
 * The connections of one store. A call waits for its turn within a time limit, and then has a
 * connection of its own. A connection on which something failed is ended, never given to another
 * call.
 */
export class Sessions {
  readonly #open: () => Promise<Session>
  readonly #waitMs: number
  readonly #idle: Session[] = []
  readonly #used = new Set<Session>()
  readonly #waiting: (() => void)[] = []
  #turns = SESSIONS_MAX
  #isClosed = false

  constructor(open: () => Promise<Session>, waitMs: number) {
    this.#open = open
    this.#waitMs = waitMs
  }

  /** Runs `work` on a connection of its own. `work` leaves no transaction open, or throws. */
  async use<Result>(work: (session: Session) => Promise<Result>): Promise<Result> {
    await this.#takeTurn()
    try {
      const session = await this.#take()
      try {
        const result = await work(session)
        if (!session.isBroken && !this.#isClosed) this.#idle.push(session)
        return result
      } catch (error) {
        // In the middle of whatever failed: only the server knows what is open there.
        session.destroy()
        throw error
      } finally {
        this.#used.delete(session)
      }
    } finally {
      this.#passTurn()
    }
  }

  close(): void {
    this.#isClosed = true
    for (const session of [...this.#idle.splice(0), ...this.#used]) session.destroy()
  }

  async #take(): Promise<Session> {
    if (this.#isClosed) throw closed()
    let session = this.#idle.pop()
    while (session?.isBroken === true) session = this.#idle.pop()
    session ??= await this.#open()
    this.#used.add(session)
    if (!this.#isClosed) return session
    session.destroy()
    throw closed()
  }

  async #takeTurn(): Promise<void> {
    if (this.#turns === 0) return this.#waitForTurn()
    this.#turns--
  }

  /** In the order of the calls: a turn that is passed on is never free in between. */
  #passTurn(): void {
    const [next] = this.#waiting
    if (next === undefined) this.#turns++
    else next()
  }

  #waitForTurn(): Promise<void> {
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

const closed = (): Error => new Error('the store in PostgreSQL is closed')
