import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { BackupMade } from '@countersign/protocol'
import { sharedRead } from '../concurrency/shared-read.ts'
import { SnapshotFault } from '../lib/durable-file.ts'
import { makeFolder } from '../lib/named-path.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Environment, Stores } from './stores.ts'

/** The folder of the data folder below which processes write snapshots. */
export const SNAPSHOTS_FOLDER = 'backup'

/**
 * Makes copies of what this process alone can read, and publishes its log. One at a time: callers
 * that ask meanwhile share the next one.
 */
export function composeSnapshots(
  { config: { dataDir } }: Pick<Environment, 'config'>,
  { queue, ledger }: Pick<Stores, 'queue' | 'ledger'>,
): (slot: string) => Promise<BackupMade | Refusal> {
  const make = sharedRead(async () => {
    const folder = join(dataDir, SNAPSHOTS_FOLDER, ledger.slot)
    try {
      await rm(folder, { recursive: true, force: true })
      makeFolder(folder)
      // Before the log, which then has each change that a copy shows.
      const channels = await queue.present.snapshot(folder)
      return { slot: ledger.slot, ...(await ledger.flush()), channels }
    } catch (cause) {
      if (!(cause instanceof SnapshotFault)) throw cause
      return new Refusal('OVERLOADED', `no copy of the channels: ${cause.message}`)
    }
  })
  return async (slot) =>
    slot === ledger.slot
      ? make()
      : new Refusal('RECEIVER_UNKNOWN', `this process has the log slot ${ledger.slot}`)
}
