import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type BackupMade, toHex } from '@countersign/protocol'
import { sharedRead } from '../concurrency/shared-read.ts'
import { type Clock, setDeadline } from '../lib/clock.ts'
import { SnapshotFault } from '../lib/durable-file.ts'
import { makeFolder } from '../lib/named-path.ts'
import type { Random } from '../lib/random.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Environment, Stores } from './stores.ts'

/** The folder of the data folder below which processes write snapshots. */
export const SNAPSHOTS_FOLDER = 'backup'

/**
 * Channels wait while they are copied, and a command has to find the copy that it asked for. So one
 * that is still there stays for nine times as long as it took, from 10 to 60 seconds.
 */
const keptShare = 9
const keptMsMin = 10_000
const keptMsMax = 60_000

export interface SnapshotParts {
  readonly dataDir: string
  readonly random: Random
  readonly clock: Pick<Clock, 'monotonic'>
  readonly snapshot: Stores['queue']['present']['snapshot']
  readonly ledger: Pick<Stores['ledger'], 'slot' | 'flush'>
  readonly sleep: (ms: number) => Promise<void>
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setDeadline(ms, resolve))

export function composeSnapshots(
  { config: { dataDir }, random, clock }: Pick<Environment, 'config' | 'random' | 'clock'>,
  { queue, ledger }: Pick<Stores, 'queue' | 'ledger'>,
): (slot: string) => Promise<BackupMade | Refusal> {
  const snapshot = (folder: string) => queue.present.snapshot(folder)
  return createSnapshots({ dataDir, random, clock, snapshot, ledger, sleep })
}

/**
 * Makes copies of what this process alone can read, and publishes its log. One at a time: callers
 * that ask meanwhile share the next one. Each is in a folder of its own, so that no reader finds a
 * part of a later one in it.
 */
export function createSnapshots({
  dataDir,
  random,
  clock,
  snapshot,
  ledger,
  ...parts
}: SnapshotParts): (slot: string) => Promise<BackupMade | Refusal> {
  const { slot } = ledger
  const place = join(dataDir, SNAPSHOTS_FOLDER, slot)
  let former = { folder: place, keptUntil: Number.NEGATIVE_INFINITY }
  const make = sharedRead(async () => {
    const left = former.keptUntil - clock.monotonic()
    if (left > 0 && existsSync(former.folder)) await parts.sleep(left)
    const name = toHex(random(8))
    const folder = join(place, name)
    const began = clock.monotonic()
    try {
      await rm(place, { recursive: true, force: true })
      makeFolder(folder)
      // Before the log, which then has each change that a copy shows.
      const channels = await snapshot(folder)
      return { slot, ...(await ledger.flush()), channels, folder: name }
    } catch (cause) {
      await rm(folder, { recursive: true, force: true })
      if (!(cause instanceof SnapshotFault)) throw cause
      return new Refusal('OVERLOADED', `no copy of the channels: ${cause.message}`)
    } finally {
      const ended = clock.monotonic()
      const keptMs = Math.max(keptMsMin, Math.min(keptShare * (ended - began), keptMsMax))
      former = { folder, keptUntil: ended + keptMs }
    }
  })
  return async (asked) =>
    asked === slot
      ? make()
      : new Refusal('RECEIVER_UNKNOWN', `this process has the log slot ${slot}`)
}
