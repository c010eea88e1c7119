/** Requests that may be held open at a time; above it they are answered at once, empty. */
const waitersMax = 10_000

/** Receivers that hold a request open until there is something on their channel. */
export class LeaseWaiters {
  readonly #waiting = new Map<string, Set<() => void>>()
  #count = 0

  /** Resolves at the next `wake` of the channel, after `timeoutMs`, or when `signal` fires. */
  wait(channel: string, timeoutMs: number, signal: AbortSignal | null): Promise<void> {
    if (this.#count >= waitersMax || signal?.aborted === true) return Promise.resolve()
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(channel) ?? new Set()
      const end = () => {
        if (!waiting.delete(end)) return
        this.#count--
        if (waiting.size === 0) this.#waiting.delete(channel)
        clearTimeout(timer)
        signal?.removeEventListener('abort', end)
        resolve()
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
