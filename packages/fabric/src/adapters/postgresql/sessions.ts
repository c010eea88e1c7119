import { isEarlierHistory, type Session } from './session.ts'
import { Turns } from './turns.ts'

/** Connections of one process to the server, at most; one more listens for wake-ups. */
export const SESSIONS_MAX = 6
/**
 * Those of them that records may use at once. The others are left to the state, which is read,
 * changed, and has leases renewed, at the same time: traffic must not delay the authority.
 */
export const RECORD_SESSIONS_MAX = 3
/** Likewise secrets, which requests for tokens read. The state and leases have at least one. */
export const SECRET_SESSIONS_MAX = 2

/** Runs work on a connection. The work leaves no transaction open, or throws. */
export interface SessionPool {
  use<Result>(work: (session: Session) => Promise<Result>): Promise<Result>
}

/**
 * The connections of one process. A call waits for its turn within a time limit, and then has a
 * connection of its own. A connection on which something failed is ended, never given to another
 * call, and so is one to a server that another one has replaced.
 */
export class Sessions implements SessionPool {
  readonly #open: () => Promise<Session>
  readonly #waitMs: number
  readonly #turns: Turns
  readonly #idle: Session[] = []
  readonly #used = new Set<Session>()
  #history: string | null = null
  #isClosed = false

  constructor(open: () => Promise<Session>, waitMs: number) {
    this.#open = open
    this.#waitMs = waitMs
    this.#turns = new Turns(SESSIONS_MAX, waitMs)
  }

  /** Of the newest server that a connection led to. Known once a connection was used. */
  get history(): string {
    if (this.#history === null) throw new Error('no connection to PostgreSQL was used yet')
    return this.#history
  }

  use<Result>(work: (session: Session) => Promise<Result>): Promise<Result> {
    return this.#turns.take(async () => {
      const session = await this.#take()
      try {
        const result = await work(session)
        if (session.history !== this.#history) throw replaced()
        if (!session.isBroken && !this.#isClosed) this.#idle.push(session)
        return result
      } catch (error) {
        // A connection that ended or hangs is seldom alone: the next calls would wait one by one.
        if (session.isBroken) this.#dropIdle()
        // In the middle of whatever failed: only the server knows what is open there.
        session.destroy()
        throw error
      } finally {
        this.#used.delete(session)
      }
    })
  }

  /** The same connections, of which the calls of this share use at most `max` at once. */
  share(max: number): SessionPool {
    const turns = new Turns(max, this.#waitMs)
    return { use: (work) => turns.take(() => this.use(work)) }
  }

  close(): void {
    this.#isClosed = true
    this.#dropIdle()
    for (const session of this.#used) session.destroy()
  }

  #dropIdle(): void {
    for (const session of this.#idle.splice(0)) session.destroy()
  }

  async #take(): Promise<Session> {
    if (this.#isClosed) throw closed()
    let session = this.#idle.pop()
    while (session?.isBroken === true) session = this.#idle.pop()
    session ??= await this.#open()
    this.#used.add(session)
    if (!this.#isClosed && this.#follow(session)) return session
    this.#used.delete(session)
    session.destroy()
    throw this.#isClosed ? closed() : replaced()
  }

  /** False for a server that another one has replaced: its rows are of the past. */
  #follow({ history }: Session): boolean {
    if (history === this.#history) return true
    if (this.#history !== null && isEarlierHistory(history, this.#history)) return false
    this.#history = history
    this.#dropIdle()
    return true
  }
}

const replaced = (): Error => new Error('this server of PostgreSQL was replaced by another one')
const closed = (): Error => new Error('the store in PostgreSQL is closed')
