import type { Random } from '../../lib/random.ts'
import type { Session } from './session.ts'

/** Between two attempts: twice as long after each, less up to a half by chance. */
const retryMsMin = 100
const retryMsMax = 5_000

export interface WakeListenerOptions {
  open(): Promise<Session>
  readonly channel: string
  readonly random: Random
}

/**
 * Listens on a connection of its own, while there are listeners. A connection that is lost is
 * replaced after a pause; nothing is reported, since readers poll as well.
 */
export class WakeListener {
  readonly #options: WakeListenerOptions
  readonly #listeners = new Set<() => void>()
  #session: Session | null = null
  #retry: NodeJS.Timeout | null = null
  #failures = 0
  #isOpening = false
  #isClosed = false

  constructor(options: WakeListenerOptions) {
    this.#options = options
  }

  add(listener: () => void): () => void {
    // A listener of its own for each call, also of the same function.
    const own = (): void => listener()
    this.#listeners.add(own)
    void this.#listen()
    return () => {
      this.#listeners.delete(own)
      if (this.#listeners.size === 0) this.#stop()
    }
  }

  close(): void {
    this.#isClosed = true
    this.#listeners.clear()
    this.#stop()
  }

  get #isWanted(): boolean {
    return !this.#isClosed && this.#listeners.size > 0
  }

  async #listen(): Promise<void> {
    if (!this.#isWanted || this.#isOpening || this.#session !== null || this.#retry !== null) return
    this.#isOpening = true
    try {
      const session = await this.#openOne()
      this.#failures = 0
      this.#session = session
      session.onEnd(() => this.#ended())
      if (!this.#isWanted) return this.#stop()
      // No connection received the notifications of commits since the last one ended.
      this.#wake()
    } catch {
      this.#retryLater()
    } finally {
      this.#isOpening = false
    }
  }

  async #openOne(): Promise<Session> {
    const session = await this.#options.open()
    try {
      session.onNotification(() => this.#wake())
      await session.query(`LISTEN ${this.#options.channel}`)
      return session
    } catch (error) {
      session.destroy()
      throw error
    }
  }

  #ended(): void {
    this.#session = null
    this.#retryLater()
  }

  #retryLater(): void {
    if (!this.#isWanted) return
    const pauseMs = Math.min(retryMsMin * 2 ** this.#failures, retryMsMax)
    this.#failures++
    const chance = (this.#options.random(1)[0] ?? 0) / 512
    this.#retry = setTimeout(
      () => {
        this.#retry = null
        void this.#listen()
      },
      pauseMs * (1 - chance),
    ).unref()
  }

  #wake(): void {
    for (const listener of this.#listeners) listener()
  }

  #stop(): void {
    if (this.#retry !== null) clearTimeout(this.#retry)
    this.#retry = null
    const session = this.#session
    this.#session = null
    session?.destroy()
  }
}
