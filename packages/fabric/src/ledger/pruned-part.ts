import { toHex } from '@countersign/protocol'
import { begunAt } from './exchange-segment.ts'
import { EntriesPruned } from './ledger-reads.ts'
import { LedgerDamage } from './store.ts'

/** The facts that a log still has about its pruned entries. */
export interface PrunedState {
  /** The index of the first entry that is left. */
  readonly minimum: number
  /** Exchanges that were under way there, with the indexes of their intents, which are pruned. */
  readonly open: ReadonlyMap<string, number>
  /** Pruned entries that name each subject, by its reference in hex. */
  readonly counts: ReadonlyMap<string, number>
  /** The latest start of an exchange with a pruned entry. Unix milliseconds. */
  readonly begunLast: number
}

const nothingPruned: PrunedState = {
  minimum: 0,
  open: new Map(),
  counts: new Map(),
  begunLast: Number.NEGATIVE_INFINITY,
}

/** The entries of a log that were pruned: everything below `minimum`. */
export class PrunedPart {
  #state: PrunedState

  constructor(state: PrunedState = nothingPruned) {
    this.#state = state
  }

  get state(): PrunedState {
    return this.#state
  }

  get minimum(): number {
    return this.#state.minimum
  }

  /** The minimum never goes back. */
  raise(state: PrunedState): void {
    if (state.minimum > this.minimum) this.#state = state
  }

  /** Throws EntriesPruned for the index of a pruned entry. */
  assertLeft(index: number): void {
    if (index < this.minimum) throw new EntriesPruned(this.minimum)
  }

  /** The reason why the file of entry `index` is missing. */
  missing(index: number, path: string): Error {
    return index < this.minimum
      ? new EntriesPruned(this.minimum)
      : new LedgerDamage(`${path} is missing`)
  }

  /** True for an exchange of which entries were pruned and others are left. */
  isCut(exchange: string): boolean {
    return this.#state.open.has(exchange)
  }

  /**
   * True where entries of that time were pruned. It depends on the id alone, so that it shows
   * no client which exchanges there were.
   */
  mayHave(exchange: string): boolean {
    const begun = begunAt(exchange)
    return this.isCut(exchange) || (begun > 0 && begun <= this.#state.begunLast)
  }
}

/** The private file with the state; its name has the minimum, so that none is ever replaced. */
export function prunedPath(minimum: number): string {
  return `pruned/${minimum}`
}

export function formatPruned({ minimum, begunLast, open, counts }: PrunedState): string {
  const content = { minimum, begunLast: Math.max(0, begunLast) }
  return `${JSON.stringify({ v: 1, ...content, open: [...open], counts: [...counts] })}\n`
}

/** Throws LedgerDamage for a text that `formatPruned` did not write. */
export function parsePruned(text: string): PrunedState {
  try {
    const { minimum, begunLast, open, counts } = JSON.parse(text) as Stored
    const state = { minimum, begunLast, open: new Map(open), counts: new Map(counts) }
    if (formatPruned(state) === text) return state
  } catch (cause) {
    throw new LedgerDamage('the state of the pruned entries is damaged', { cause })
  }
  throw new LedgerDamage('the state of the pruned entries is damaged')
}

interface Stored extends Pick<PrunedState, 'minimum' | 'begunLast'> {
  readonly open: readonly (readonly [exchange: string, index: number])[]
  readonly counts: readonly (readonly [reference: string, count: number])[]
}

/** Adds entries, in order, to what is known of the pruned ones. */
export class PrunedCount {
  readonly open: Map<string, number>
  readonly counts: Map<string, number>
  #begunLast: number

  constructor({ open, counts, begunLast }: PrunedState) {
    this.open = new Map(open)
    this.counts = new Map(counts)
    this.#begunLast = begunLast
  }

  add(exchange: string, references: readonly Uint8Array[]): void {
    this.#begunLast = Math.max(this.#begunLast, begunAt(exchange))
    for (const bytes of references) {
      const reference = toHex(bytes)
      this.counts.set(reference, (this.counts.get(reference) ?? 0) + 1)
    }
  }

  stateAt(minimum: number): PrunedState {
    return { minimum, open: this.open, counts: this.counts, begunLast: this.#begunLast }
  }
}
