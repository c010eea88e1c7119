import { inTurns, Shares, Turns } from '../lib/limits.ts'

/**
 * Requests that may be held open, together and by one identity; above it they are answered at once,
 * empty.
 */
const waitersMax = 10_000
const waitersPerIdentityMax = 256
/** Each one who is woken looks into the store. */
const wakesPerTurn = 16

interface Waiter {
  isDue: boolean
  end(): void
}

/** Receivers that hold a request open until there is something on their channel. */
export class LeaseWaiters {
  /** By channel, and in it by identity. */
  readonly #waiting = new Map<string, Map<string, Set<Waiter>>>()
  readonly #shares: Shares
  readonly #turns = new Turns(wakesPerTurn)

  constructor(countMax = waitersMax, perIdentityMax = waitersPerIdentityMax) {
    this.#shares = new Shares(countMax, perIdentityMax)
  }

  /**
   * Resolves after the next `wake` of the channel, after `timeoutMs`, or when `signal` fires; to
   * false, at once, when the caller may not wait. A caller that then looked again without waiting
   * would do nothing else.
   */
  wait(
    { channel, identity }: { readonly channel: string; readonly identity: string },
    timeoutMs: number,
    signal: AbortSignal | null,
  ): Promise<boolean> {
    if (!this.#shares.hasSpace(identity) || signal?.aborted === true) return Promise.resolve(false)
    this.#shares.take(identity)
    return new Promise((resolve) => {
      const end = () => {
        if (!this.#leave(channel, identity, waiter)) return
        this.#shares.give(identity)
        clearTimeout(timer)
        signal?.removeEventListener('abort', end)
        resolve(true)
      }
      const waiter: Waiter = { isDue: false, end }
      const timer = setTimeout(() => this.#due(waiter), timeoutMs)
      signal?.addEventListener('abort', end)
      this.#join(channel, identity, waiter)
    })
  }

  /** An identity’s many come after every other’s first. */
  wake(channel: string): void {
    const waiting = this.#waiting.get(channel)
    if (waiting === undefined) return
    for (const waiter of inTurns<Waiter>(waiting.values())) this.#due(waiter)
  }

  wakeAll(): void {
    for (const channel of this.#waiting.keys()) this.wake(channel)
  }

  #due(waiter: Waiter): void {
    if (waiter.isDue) return
    waiter.isDue = true
    this.#turns.add(() => waiter.end())
  }

  #join(channel: string, identity: string, waiter: Waiter): void {
    const identities = this.#waiting.get(channel) ?? new Map<string, Set<Waiter>>()
    this.#waiting.set(channel, identities)
    const own = identities.get(identity) ?? new Set<Waiter>()
    identities.set(identity, own.add(waiter))
  }

  #leave(channel: string, identity: string, waiter: Waiter): boolean {
    const identities = this.#waiting.get(channel)
    const own = identities?.get(identity)
    if (own?.delete(waiter) !== true) return false
    if (own.size === 0) identities?.delete(identity)
    if (identities?.size === 0) this.#waiting.delete(channel)
    return true
  }
}
