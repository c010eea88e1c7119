/**
 * Keeps pruning apart from work that needs every entry of the log: a check, an erasure. Pruning
 * waits for the work that has begun, and work that comes later waits for the pruning.
 */
export class WholeLog {
  readonly #working = new Set<Promise<unknown>>()
  #pruning: Promise<void> | null = null

  async read<Result>(work: () => Promise<Result>): Promise<Result> {
    while (this.#pruning !== null) await this.#pruning
    const running = work()
    this.#working.add(running)
    try {
      return await running
    } finally {
      this.#working.delete(running)
    }
  }

  /** Resolves when nothing is being pruned. */
  async idle(): Promise<void> {
    while (this.#pruning !== null) await this.#pruning
  }

  /** One pruning at a time. */
  async prune<Result>(work: () => Promise<Result>): Promise<Result> {
    while (this.#pruning !== null) await this.#pruning
    const running = Promise.allSettled([...this.#working]).then(work)
    this.#pruning = running.then(
      () => undefined,
      () => undefined,
    )
    try {
      return await running
    } finally {
      this.#pruning = null
    }
  }
}
