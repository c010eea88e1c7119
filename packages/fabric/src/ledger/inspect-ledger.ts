import type { Clock } from '../lib/clock.ts'
import type { CheckpointVerifier } from './checkpoint.ts'
import { ExchangeIndex } from './exchange-index.ts'
import type { LedgerLimits } from './limits.ts'
import { restoreIndex } from './open-ledger.ts'
import { recover } from './recovery.ts'
import { loadPruned } from './retention.ts'
import type { LedgerStore } from './store.ts'

/** The state that the next start of a ledger will find. */
export interface LedgerOutlook {
  readonly entries: number
  /** Exchanges that it will close as indeterminate. */
  readonly open: number
  /** Entries that it will read for the exchange index. */
  readonly toIndex: number
  readonly freeBytes: number
}

export interface InspectOptions {
  /** Open; nothing is written to it. */
  readonly store: LedgerStore
  readonly key: CheckpointVerifier
  readonly clock: Clock
  readonly limits: LedgerLimits
}

/**
 * Does what a start does, without a change: rejects with what would keep the ledger from starting.
 * Everything is verified by the public key of the log.
 */
export async function inspectLedger(options: InspectOptions): Promise<LedgerOutlook> {
  const { key, clock, limits } = options
  const store = readOnly(options.store)
  const recovered = await recover({ store, key, clock, limits, acceptClock: null })
  const pruned = await loadPruned(store.resources, key)
  const index = new ExchangeIndex(store.resources, limits.segmentEntries, pruned)
  const from = await restoreIndex(index, recovered, { store, clock, pruned, log: () => undefined })
  return {
    entries: recovered.head.size,
    open: index.open.size,
    toIndex: recovered.head.size - from,
    freeBytes: await store.freeBytes(),
  }
}

function readOnly(store: LedgerStore): LedgerStore {
  const { heads, wal, resources, subjects } = store
  const nothing = () => Promise.resolve()
  return {
    heads: { load: () => heads.load(), replace: nothing, sync: nothing },
    wal: {
      replay: (visit) => wal.replay(visit),
      rewrite: nothing,
      trim: nothing,
      reset: nothing,
    },
    resources: {
      read: (path) => resources.read(path),
      readPart: (path, position, length) => resources.readPart(path, position, length),
      list: (directory) => resources.list(directory),
      stat: (path) => resources.stat(path),
      write: nothing,
      remove: nothing,
    },
    subjects: { read: () => subjects.read(), write: nothing, sync: nothing, replace: nothing },
    commit: () => Promise.reject(new Error('an inspection writes nothing')),
    freeBytes: () => store.freeBytes(),
    close: nothing,
  }
}
