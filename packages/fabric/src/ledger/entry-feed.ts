import { ListenerSet } from '@countersign/protocol'
import type { Committed, EntryDraft, Ledger, OpenedEntry } from './ledger.ts'

/**
 * The ledger as everything appends to it that runs: each entry is announced, opened, once durable.
 */
export interface EntryFeed {
  append(draft: EntryDraft): Promise<Committed>
  /** Returns the function that ends it. */
  onEntry(listener: (entry: OpenedEntry) => void): () => void
}

export function createEntryFeed(ledger: Pick<Ledger, 'append'>): EntryFeed {
  const listeners = new ListenerSet<OpenedEntry>()
  return {
    async append(draft) {
      const committed = await ledger.append(draft)
      listeners.notify({ ...draft, index: committed.index })
      return committed
    },
    onEntry: (listener) => listeners.add(listener),
  }
}
