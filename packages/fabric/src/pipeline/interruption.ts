/**
 * An event that may occur once, while a caller waits for many promises in turn. `Promise.race`
 * against a pending promise keeps the outcome of every race until that promise settles: a stream
 * would be kept whole in memory for as long as it is open. This class keeps no state of a finished
 * wait.
 */
export class Interruption<Reason> {
  readonly #waiting = new Set<(reason: Reason) => void>()
  #came: { readonly reason: Reason } | null = null

  /** Ends every wait, present and future. Only the first call counts. */
  come(reason: Reason): void {
    if (this.#came !== null) return
    this.#came = { reason }
    for (const end of this.#waiting) end(reason)
    this.#waiting.clear()
  }

  /**
   * Resolves or rejects as `work` does, or resolves to the reason when that comes first. Later
   * results of `work` are ignored.
   */
  or<Value>(work: Promise<Value>): Promise<Value | Reason> {
    const { promise, resolve, reject } = Promise.withResolvers<Value | Reason>()
    if (this.#came === null) this.#waiting.add(resolve)
    else resolve(this.#came.reason)
    work.then(resolve, reject).finally(() => this.#waiting.delete(resolve))
    return promise
  }
}
