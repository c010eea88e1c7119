/**
 * Something that may come once, while somebody waits for many things one after the other.
 * `Promise.race` against a promise that stays pending keeps the outcome of every race until that
 * promise settles: a stream would be held whole in memory for as long as it is open. Nothing of a
 * wait that is over is kept here.
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
   * What `work` comes to, or the reason when that is here first. What `work` does later is ignored.
   */
  or<Value>(work: Promise<Value>): Promise<Value | Reason> {
    const { promise, resolve, reject } = Promise.withResolvers<Value | Reason>()
    if (this.#came === null) this.#waiting.add(resolve)
    else resolve(this.#came.reason)
    work.then(resolve, reject).finally(() => this.#waiting.delete(resolve))
    return promise
  }
}
