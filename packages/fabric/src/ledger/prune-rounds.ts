import type { PruneResult } from './pruning.ts'

export interface PruneRoundsParts {
  /** After a round, and after one that left more to the next. */
  readonly everyMs: number
  readonly soonMs: number
  prune(): Promise<PruneResult>
  log(event: string, facts: Readonly<Record<string, string | number>>): void
}

/** Prunes from time to time. A round that fails is logged, and the next one tries again. */
export class PruneRounds {
  readonly #parts: PruneRoundsParts
  #timer: ReturnType<typeof setTimeout> | null = null
  #running: Promise<void> = Promise.resolve()
  #isStopped = false

  constructor(parts: PruneRoundsParts) {
    this.#parts = parts
  }

  /** The first round begins after `soonMs`: a start has other work. */
  start(): void {
    this.#schedule(this.#parts.soonMs)
  }

  /** Waits for the round that is under way; none follows. */
  async stop(): Promise<void> {
    this.#isStopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#running
  }

  #schedule(ms: number): void {
    if (this.#isStopped) return
    this.#timer = setTimeout(() => {
      this.#running = this.#run()
    }, ms).unref()
  }

  async #run(): Promise<void> {
    const { prune, log, everyMs, soonMs } = this.#parts
    let nextMs = everyMs
    try {
      const { first, minimum, keptBy, bytes } = await prune()
      if (keptBy === 'turn') nextMs = soonMs
      if (keptBy === 'clock') log('nothing is pruned: the clock has gone ahead', { first })
      if (minimum > first) log('entries were pruned', { entries: minimum - first, bytes })
    } catch (cause) {
      log('entries could not be pruned', { error: String(cause) })
    }
    this.#schedule(nextMs)
  }
}
