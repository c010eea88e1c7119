import type { OpenedEntry } from '../../packages/fabric/src/ledger/ledger-reads.ts'

/** A log in memory, which survives its readers. */
export class MemoryLog {
  readonly entries: OpenedEntry[] = []
  readonly #listeners = new Set<(entries: readonly OpenedEntry[]) => void>()

  /** Entries before it count as pruned. */
  first = 0
  readonly kept = new Map<string, () => number | null>()

  readonly pruning = {
    keepFrom: (name: string, position: () => number | null) => {
      this.kept.set(name, position)
      return () => this.kept.delete(name)
    },
  }

  get size(): number {
    return this.entries.length
  }

  /** `isAnnounced` is false for entries that go another way into the log. */
  append(count: number, isAnnounced = true): void {
    const added = Array.from({ length: count }, (_, n) => {
      const index = this.size + n
      const exchange = `exc_${index}`
      return { kind: 'refusal', exchange, at: index, facts: { n: index } } as const
    })
    this.add(added, isAnnounced)
  }

  add(drafts: readonly Omit<OpenedEntry, 'index'>[], isAnnounced = true): void {
    const added = drafts.map((draft, n) => ({ ...draft, index: this.size + n }))
    this.entries.push(...added)
    if (isAnnounced) this.announce(added)
  }

  announce(entries: readonly OpenedEntry[]): void {
    for (const listener of this.#listeners) listener(entries)
  }

  async read(from: number, count: number) {
    const entries = this.entries.slice(from, from + count)
    await new Promise(setImmediate)
    return { entries, next: from + entries.length }
  }

  onDurable(listener: (entries: readonly OpenedEntry[]) => void) {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Its readers are gone, as after a kill. */
  forgetReaders(): void {
    this.#listeners.clear()
  }
}
