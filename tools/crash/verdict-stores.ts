import { openFileLedgerStore } from '../../packages/fabric/src/adapters/file/ledger-store.ts'
import { openLedger } from '../../packages/fabric/src/ledger/open-ledger.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import type { FileLayer } from '../../packages/fabric/src/lib/durable-file.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { heldLease } from './held-lease.ts'
import { damageLastRecord } from './lossy-damage.ts'
import { LossyDisk } from './lossy-files.ts'
import { createLedgerKeys, type LedgerKeys, testOrigin } from './lossy-ledger.ts'
import { countOperations, crashesAt, crashLedger, createBase, newExchange } from './lossy-matrix.ts'
import type { SeededRandom } from './seeded-random.ts'

/**
 * The ledger store on a modelled disk: a script of appends runs into a fault at a random operation,
 * everything unsynced is lost, and again during recovery. Then the last record of logs that lost
 * power is damaged. Gives what was lost, nothing when all is well.
 */
export async function crashLedgerStore(
  rounds: number,
  seeded: SeededRandom,
): Promise<readonly string[]> {
  const bases = [
    await createBase(0),
    await createBase(entriesBefore),
    await createBase(entriesBefore, 'publishes nothing'),
  ]
  for (let round = 0; round < rounds; round++) {
    const base = bases[round % bases.length]
    if (base === undefined) break
    const at = seeded.between(1, await countOperations(base))
    for (const crash of crashesAt(at)) {
      try {
        await crashLedger(base, crash)
      } catch (cause) {
        return [`ledger store: ${String(cause)} at ${JSON.stringify(crash)}`]
      }
    }
  }
  for (let round = 0; round < rounds * damagesPerRound; round++) {
    const fault = await damageLastRecord(seeded).catch(String)
    if (fault !== null) return [`last record: ${fault}`]
  }
  return []
}

/** Each takes a few milliseconds. */
const damagesPerRound = 20

/** Just below the width of a tile, so that the script crosses it. */
const entriesBefore = 252
const controlEntries = 20

/**
 * The control experiment: on a disk that takes syncs for granted, acknowledged entries are lost.
 */
export async function loseLedgerWithoutSync(): Promise<boolean> {
  const disk = new LossyDisk()
  const keys = createLedgerKeys()
  const ledger = await openOn(withoutSync(disk.mount()), disk, keys)
  const acknowledged: string[] = []
  for (let i = 0; i < controlEntries; i++) {
    const { exchange } = await ledger.append({
      kind: 'refusal',
      exchange: newExchange(),
      at: Date.now(),
      facts: { n: 1 },
    })
    acknowledged.push(exchange)
  }
  disk.powerLoss('synced')
  // A ledger that refuses to open has noticed; one that opens has to have all of them.
  const reopened = await openOn(disk.mount(), disk, keys).catch(() => null)
  if (reopened === null) return true
  for (const exchange of acknowledged) {
    if ((await reopened.explain(exchange)).length === 0) return true
  }
  return false
}

async function openOn(files: FileLayer, disk: LossyDisk, keys: LedgerKeys) {
  return openLedger({
    ...keys,
    store: await openFileLedgerStore({ directory: '/ledger', files, lock: disk.lock }),
    lease: heldLease,
    origin: testOrigin,
    clock: systemClock,
    random: systemRandom,
  })
}

function withoutSync(disk: FileLayer): FileLayer {
  const layer: FileLayer = {
    open: (async (path: string, mode: 'update') => {
      const file = await disk.open(path, mode)
      return file === null ? null : { ...file, sync: () => Promise.resolve() }
    }) as FileLayer['open'],
    rename: (from, to) => disk.rename(from, to),
    remove: (path) => disk.remove(path),
    stat: (path) => disk.stat(path),
    list: (directory) => disk.list(directory),
    makeDirectory: (path) => disk.makeDirectory(path),
    syncDirectory: () => Promise.resolve(),
    freeBytes: (directory) => disk.freeBytes(directory),
  }
  return layer
}
