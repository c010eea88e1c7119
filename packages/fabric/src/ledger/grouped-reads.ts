import type { Clock } from '../lib/clock.ts'
import type { Committed, EntryDraft, EntryPurpose } from './ledger.ts'

/** Reads that follow a recorded one of the same kind within this time are counted instead. */
const groupMs = 60_000
/** Between two looks for groups that are over. */
const sweepMs = 5_000
/** Groups of all readers; further ones are recorded read by read. */
const groupsMax = 1_024
/** Counted reads of one group that are under way; further ones are recorded read by read. */
const underWayMax = 16

export interface GroupedReadsParts {
  append(draft: EntryDraft): Promise<Committed>
  /** Rejects as `append` would with an entry of that purpose. */
  assertSpace(purpose: EntryPurpose | null): Promise<void>
  /** Of an exchange of the ledger's own. */
  newId(): string
  readonly clock: Clock
  readonly log: (event: string, facts: Readonly<Record<string, string | number>>) => void
}

interface Group {
  readonly first: Committed
  /** The facts of the intent that is on record. */
  readonly facts: EntryDraft['facts']
  /** Monotonic milliseconds. */
  readonly until: number
  /** Intents of reads that are under way, by exchange. */
  readonly underWay: Map<string, EntryDraft>
  /** Reads that were delivered and are not on record by themselves. */
  count: number
}

/**
 * Reading the ledger must leave a trace, and must not fill the ledger with entries about reading.
 * The first read of a reader and kind is an exchange like any other: its intent is durable before
 * anything is read. Those of the next minute are authenticated, decided and inspected as always,
 * and counted; one entry of kind `lifecycle` then states how many. A read that ends in any way but
 * `delivered` is recorded by itself.
 */
export class GroupedReads {
  readonly #parts: GroupedReadsParts
  readonly #operations: ReadonlySet<string>
  readonly #groups = new Map<string, Group>()
  readonly #timer: ReturnType<typeof setInterval>
  /** One at a time: a second one would record the same reads once more. */
  #sweeping: Promise<void> | null = null
  /** Nothing is counted any more, because no sweep follows. */
  #isClosed = false

  constructor(parts: GroupedReadsParts, operations: readonly string[]) {
    this.#parts = parts
    this.#operations = new Set(operations)
    this.#timer = setInterval(() => {
      this.#sweeping ??= this.#sweep(false).finally(() => {
        this.#sweeping = null
      })
    }, sweepMs)
    this.#timer.unref()
  }

  /** In place of the `append` of the ledger, for the exchanges of administration. */
  readonly append = (draft: EntryDraft): Promise<Committed> => {
    if (draft.kind === 'intent') return this.#begin(draft)
    for (const group of this.#groups.values()) {
      const intent = group.underWay.get(draft.exchange)
      if (intent !== undefined) return this.#end(group, intent, draft)
    }
    return this.#parts.append(draft)
  }

  /** Records what was counted; for an orderly stop. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#isClosed = true
    await this.#sweeping
    await this.#sweep(true)
  }

  async #begin(draft: EntryDraft): Promise<Committed> {
    const { append, assertSpace, clock } = this.#parts
    const { facts, purpose, exchange } = draft
    if (this.#isClosed) return append(draft)
    const isGrouped = purpose === 'oversight' && this.#operations.has(String(facts['operation']))
    if (!isGrouped) return append(draft)
    const key = keyOf(facts)
    const group = this.#groups.get(key)
    if (group !== undefined && clock.monotonic() < group.until) {
      if (group.underWay.size >= underWayMax) return append(draft)
      group.underWay.set(exchange, draft)
      try {
        // Nothing is read that could not be recorded.
        await assertSpace(purpose)
        return group.first
      } catch (cause) {
        group.underWay.delete(exchange)
        throw cause
      }
    }
    const first = await append(draft)
    if (group === undefined && this.#groups.size < groupsMax && !this.#groups.has(key)) {
      const until = clock.monotonic() + groupMs
      this.#groups.set(key, { first, facts, until, underWay: new Map(), count: 0 })
    }
    return first
  }

  async #end(group: Group, intent: EntryDraft, draft: EntryDraft): Promise<Committed> {
    group.underWay.delete(draft.exchange)
    const isCounted = draft.kind === 'outcome' && draft.facts['result'] === 'delivered'
    if (isCounted && !this.#isClosed) {
      group.count += 1
      return group.first
    }
    await this.#parts.append(intent)
    return this.#parts.append(draft)
  }

  async #sweep(isLast: boolean): Promise<void> {
    const { clock, log } = this.#parts
    for (const [key, group] of this.#groups) {
      if (!isLast && (clock.monotonic() < group.until || group.underWay.size > 0)) continue
      const { count } = group
      // Reads from here on begin a group of their own; what cannot be recorded is tried again.
      if (count > 0) {
        try {
          await this.#record(group, count)
          group.count -= count
        } catch (cause) {
          log('reads of the ledger are not on record yet', { reads: count, error: String(cause) })
          continue
        }
      }
      if (group.count === 0 && group.underWay.size === 0) this.#groups.delete(key)
    }
  }

  async #record({ facts, first }: Group, reads: number): Promise<void> {
    const at = this.#parts.clock.now()
    const { caller = '', operation = '', 'caller.user': user } = facts
    await this.#parts.append({
      ...{ kind: 'lifecycle', exchange: this.#parts.newId(), at, purpose: 'oversight' },
      facts: {
        ...{ event: 'ledger-read', agent: caller, operation, reads, first: first.exchange },
        ...(user === undefined ? {} : { 'caller.user': user }),
      },
    })
  }
}

function keyOf(facts: EntryDraft['facts']): string {
  const names = ['caller', 'caller.user', 'caller.credential', 'operation'] as const
  return names.map((name) => String(facts[name] ?? '')).join('\n')
}
