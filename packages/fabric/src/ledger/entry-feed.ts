import { ListenerSet } from '@countersign/protocol'
import type { Committed, EntryDraft, Ledger } from './ledger.ts'
import type { OpenedEntry } from './ledger-reads.ts'

/**
 * The ledger as everything appends to it that runs: each entry is announced, opened, once durable.
 */
export interface EntryFeed {
  /** The log slot that it appends to; ids of its exchanges name it. */
  readonly slot: string
  append(draft: EntryDraft): Promise<Committed>
  /** Returns the function that ends it. */
  onEntry(listener: (entry: OpenedEntry) => void): () => void
}

export function createEntryFeed(ledger: Pick<Ledger, 'append' | 'slot'>): EntryFeed {
  const listeners = new ListenerSet<OpenedEntry>()
  return {
    slot: ledger.slot,
    async append(draft) {
      const committed = await ledger.append(draft)
      listeners.notify({ ...draft, index: committed.index })
      return committed
    },
    onEntry: (listener) => listeners.add(listener),
  }
}
