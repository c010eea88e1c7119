import { sharedRead } from '../concurrency/shared-read.ts'
import { PruneRounds } from './prune-rounds.ts'
import type { PrunedPart } from './pruned-part.ts'
import type { LogPruning, PruneOrder, PrunePlan, PruneResult } from './pruning.ts'
import { Retention, type RetentionParts } from './retention.ts'
import { parseTilePath, tileWidth } from './tiles.ts'
import { WholeLog } from './whole-log.ts'

export interface LedgerPruningParts extends RetentionParts {
  readonly pruned: PrunedPart
  /** Rejects unless this process holds the log, and serves. */
  assertHeld(): Promise<void>
}

/** The pruning of one log: by its operator, by itself, and apart from work that needs all of it. */
export class LedgerPruning implements LogPruning {
  readonly #parts: LedgerPruningParts
  readonly #retention: Retention
  readonly #rounds: PruneRounds
  readonly #whole = new WholeLog()
  /** Callers share one plan, which looks at every unit that goes. */
  readonly plan: () => Promise<PrunePlan> = sharedRead(() => this.#plan())

  constructor(parts: LedgerPruningParts) {
    const { limits, log } = parts
    this.#parts = parts
    this.#retention = new Retention(parts)
    this.#rounds = new PruneRounds({
      ...{ everyMs: limits.pruneEveryMs, soonMs: limits.pruneSoonMs, log },
      prune: () => this.prune({ exchange: null }),
    })
  }

  /** Completes what a crash has left, behind the publication of a start; then prunes by itself. */
  async start(): Promise<void> {
    await this.#retention.resume()
    if (this.#parts.policy !== null) this.#rounds.start()
  }

  prune(order: PruneOrder): Promise<PruneResult> {
    return this.#whole.prune(async () => {
      await this.#parts.assertHeld()
      return this.#retention.prune(order)
    })
  }

  /** For work that reads every entry: none is pruned before it ends. */
  whileWhole<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.#whole.read(work)
  }

  mayHave(exchange: string): boolean {
    return this.#parts.pruned.mayHave(exchange)
  }

  hasResource(path: string): boolean {
    const address = parseTilePath(path)
    return address?.kind === 'entries' && address.tile * tileWidth < this.#parts.pruned.minimum
  }

  keepFrom(name: string, position: () => number | null): () => void {
    return this.#retention.keepFrom(name, position)
  }

  /** Ends what is under way, which the next start completes. */
  async stop(): Promise<void> {
    this.#retention.stop()
    await this.#rounds.stop()
    await this.#whole.idle()
  }

  async #plan(): Promise<PrunePlan> {
    await this.#parts.assertHeld()
    return this.#retention.plan()
  }
}
