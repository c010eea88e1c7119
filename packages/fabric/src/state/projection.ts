import { ListenerSet } from '@countersign/protocol'
import type { ChangedRow, StateChange, StateTable } from './state-store.ts'

/** One row that changed: null before it was made, and after it was removed. */
export interface ProjectedChange<Value> {
  readonly key: string
  readonly before: Value | null
  readonly after: Value | null
}

export interface ProjectionOptions<Value> {
  readonly table: StateTable
  /** Throws for a text that makes no sense: the process ends, since it could be a revocation. */
  parse(key: string, text: string): Value
  format(value: Value): string
  /** Keeps an index up to date. Called in commit order, for the rows at the start as well. */
  index?(change: ProjectedChange<Value>): void
}

interface Projected<Value> {
  readonly text: string
  readonly value: Value
}

/**
 * One table in memory, as of the revision that its stream has reached. Only the stream changes it,
 * so that every process makes the same changes in the same order. Reads are synchronous: they are
 * on the path of every request.
 */
export class Projection<Value> {
  readonly table: StateTable
  readonly #options: ProjectionOptions<Value>
  readonly #rows = new Map<string, Projected<Value>>()
  readonly #listeners = new ListenerSet<readonly ProjectedChange<Value>[]>()

  /** Made by a stream only, which passes the rows that it has read. */
  constructor(options: ProjectionOptions<Value>, rows: ReadonlyMap<string, string>) {
    this.#options = options
    this.table = options.table
    for (const [key, value] of rows) this.apply({ table: this.table, key, value })
  }

  get size(): number {
    return this.#rows.size
  }

  find(key: string): Value | null {
    return this.#rows.get(key)?.value ?? null
  }

  *values(): Generator<Value> {
    for (const { value } of this.#rows.values()) yield value
  }

  entries(): readonly (readonly [string, Value])[] {
    return [...this.#rows].map(([key, { value }]) => [key, value] as const)
  }

  /**
   * The change of a row to `value`, or its removal, on condition that the row is as it is here. The
   * text is compared as it was read, whatever a later version would write.
   */
  change(key: string, value: Value | null): StateChange {
    return { ...this.overwrite(key, value), expected: this.#rows.get(key)?.text ?? null }
  }

  /** As `change`, whatever the row is: for what must not fail because of another writer. */
  overwrite(key: string, value: Value | null): StateChange {
    const text = value === null ? null : this.#options.format(value)
    return { table: this.table, key, value: text }
  }

  /** Called after each commit that changed this table, with its changes in order. */
  onChange(listener: (changes: readonly ProjectedChange<Value>[]) => void): () => void {
    return this.#listeners.add(listener)
  }

  /** For the stream. Throws, with nothing changed, for a row that makes no sense. */
  apply({ key, value: text }: ChangedRow): ProjectedChange<Value> {
    const after = text === null ? null : this.#options.parse(key, text)
    const change = { key, before: this.find(key), after }
    if (text === null || after === null) this.#rows.delete(key)
    else this.#rows.set(key, { text, value: after })
    this.#options.index?.(change)
    return change
  }

  /** For the stream, when the whole commit is applied. */
  notify(changes: readonly ProjectedChange<Value>[]): void {
    this.#listeners.notify(changes)
  }
}
