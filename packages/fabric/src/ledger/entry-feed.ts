import { ListenerSet } from '@countersign/protocol'
import type { Committed, EntryDraft, Ledger } from './ledger.ts'
import type { OpenedEntry } from './ledger-reads.ts'

/**
 * The ledger as everything appends to it that runs: each entry is announced, opened, once
 * durable. An entry about a batch of a connector is not: it states nothing about an exchange.
 */
export interface EntryFeed {
  /** The log slot that it appends to; ids of its exchanges name it. */
  readonly slot: string
  append(draft: EntryDraft): Promise<Committed>
  appendBatch: Ledger['appendBatch']
  /** Returns the function that ends it. */
  onEntry(listener: (entry: OpenedEntry) => void): () => void
}

export function createEntryFeed(
  ledger: Pick<Ledger, 'append' | 'appendBatch' | 'slot'>,
): EntryFeed {
  const listeners = new ListenerSet<OpenedEntry>()
  return {
    slot: ledger.slot,
    async append(draft) {
      const committed = await ledger.append(draft)
      listeners.notify({ ...draft, index: committed.index })
      return committed
    },
    async appendBatch(entries, batch) {
      const committed = await ledger.appendBatch(entries, batch)
      for (const [at, { kind, exchange, at: time, facts }] of entries.entries()) {
        const one = committed.entries[at]
        if (one === undefined || !('index' in one)) continue
        listeners.notify({ kind, exchange, at: time, facts, index: one.index })
      }
      return committed
    },
    onEntry: (listener) => listeners.add(listener),
  }
}
