import type { Clock } from '../lib/clock.ts'
import type { CheckpointVerifier } from './checkpoint.ts'
import { Cosigning, noCosigning } from './cosigning.ts'
import type { FlushedLog } from './ledger.ts'
import type { LedgerLimits } from './limits.ts'
import { Publisher } from './publisher.ts'
import { recover } from './recovery.ts'
import type { LedgerStore } from './store.ts'
import { SyncedHeads } from './synced-heads.ts'

export interface SettleOptions {
  /** Open, so that no other process appends. */
  readonly store: LedgerStore
  readonly key: CheckpointVerifier
  readonly clock: Clock
  readonly limits: LedgerLimits
}

/**
 * Does the first part of a start, which needs no secret: recovers the log, writes into tiles what
 * is in the write-ahead log alone, and publishes the head that was signed before the stop. Rejects
 * with what would keep the ledger from starting.
 */
export async function settleLedger(options: SettleOptions): Promise<FlushedLog> {
  const { store, limits, clock } = options
  const { tree, window, published, head } = await recover({ ...options, acceptClock: null })
  const faults: unknown[] = []
  const fatal = (cause: unknown) => faults.push(cause)
  // The lock of the store stands for the lease: nothing is signed here.
  const lease = { regain: () => null }
  const heads = new SyncedHeads({ store: store.heads, lease, limits, head, published, fatal })
  const after = () => Promise.resolve()
  const cosigning = new Cosigning(noCosigning)
  const publisher = new Publisher({
    ...{ store, lease, tree, window, limits, clock, heads, cosigning, after, fatal },
  })
  publisher.announce(head.size)
  await publisher.flush()
  await publisher.stop()
  if (faults.length > 0) throw faults[0]
  await store.wal.reset()
  return { size: head.size, headAt: head.at }
}
