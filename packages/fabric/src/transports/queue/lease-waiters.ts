/** Requests that may be held open at a time; above it they are answered at once, empty. */
const waitersMax = 10_000

/** Receivers that hold a request open until there is something on their channel. */
export class LeaseWaiters {
  readonly #waiting = new Map<string, Set<() => void>>()
  #count = 0

  readonly #countMax: number

  constructor(countMax = waitersMax) {
    this.#countMax = countMax
  }

  /**
   * Resolves at the next `wake` of the channel, after `timeoutMs`, or when `signal` fires; to false,
   * at once, when nobody may wait. Whoever then looked again without waiting would do nothing else.
   */
  wait(channel: string, timeoutMs: number, signal: AbortSignal | null): Promise<boolean> {
    if (this.#count >= this.#countMax || signal?.aborted === true) return Promise.resolve(false)
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(channel) ?? new Set()
      const end = () => {
        if (!waiting.delete(end)) return
        this.#count--
        if (waiting.size === 0) this.#waiting.delete(channel)
        clearTimeout(timer)
        signal?.removeEventListener('abort', end)
        resolve(true)
      }
      const timer = setTimeout(end, timeoutMs)
      signal?.addEventListener('abort', end)
      this.#waiting.set(channel, waiting.add(end))
      this.#count++
    })
  }

  wake(channel: string): void {
    for (const end of this.#waiting.get(channel) ?? []) end()
  }

  wakeAll(): void {
    for (const channel of this.#waiting.keys()) this.wake(channel)
  }
}
