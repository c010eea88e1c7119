import type { EntryKind, Ledger } from '../../packages/fabric/src/ledger/ledger.ts'
import type { LedgerLimits } from '../../packages/fabric/src/ledger/limits.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { createExchangeId } from '../../packages/protocol/src/index.ts'
import { type Fault, LossyDisk, type Survival } from './lossy-files.ts'
import { createLedgerKeys, type LedgerKeys, openLossyLedger } from './lossy-ledger.ts'
import { SeenHeads } from './seen-heads.ts'

/** The observations of a ledger from outside, over all its crashes. */
export class LedgerObserver {
  readonly acknowledged: { readonly exchange: string; readonly kind: EntryKind }[] = []
  readonly heads = new SeenHeads()
}

/** Every write, sync and rename happens within a few entries, with full and partial tiles. */
const limits = {
  groupEntriesMax: 3,
  publishEntries: 1,
  segmentEntries: 8,
  windowBytesMax: 4096,
}

/**
 * Nothing is published before the end: a head is synced for a receipt alone, and a power loss finds
 * several records beyond the head that is durable.
 */
const lazy = { ...limits, publishEntries: 1_000, publishDelayMs: 3_600_000 }

export interface Base {
  readonly disk: LossyDisk
  readonly keys: LedgerKeys
  readonly limits: Partial<LedgerLimits>
}

export type Publishing = 'publishes' | 'publishes nothing'

/** A closed ledger of about `entries` entries, to start every run from. */
export async function createBase(
  entries: number,
  publishing: Publishing = 'publishes',
): Promise<Base> {
  const disk = new LossyDisk()
  const keys = createLedgerKeys()
  const base = { disk, keys, limits: publishing === 'publishes' ? limits : lazy }
  if (entries === 0) return base
  const ledger = await openLossyLedger(disk, keys, { limits: { segmentEntries: 8 } })
  const writes = Array.from({ length: Math.max(0, entries - 1) }, () =>
    ledger.append({ kind: 'refusal', exchange: newExchange(), at: Date.now(), facts: { n: 1 } }),
  )
  await Promise.all(writes)
  await ledger.close()
  return base
}

/** The script of every run: three exchanges at a time, seen through receipts and checkpoints. */
async function runScript({ disk, keys, limits }: Base, observer: LedgerObserver): Promise<void> {
  let ledger: Ledger
  try {
    ledger = await openLossyLedger(disk, keys, { limits })
  } catch {
    return
  }
  for (let round = 0; round < 2; round++) {
    const exchanges = [newExchange(), newExchange(), newExchange()]
    await Promise.allSettled(exchanges.map((exchange) => runExchange(ledger, exchange, observer)))
    const published = await ledger.findResource('checkpoint').catch(() => null)
    if (published !== null) observer.heads.see(Buffer.from(published).toString())
  }
  await ledger.close().catch(() => undefined)
}

async function runExchange(ledger: Ledger, exchange: string, observer: LedgerObserver) {
  for (const kind of ['intent', 'outcome'] as const) {
    await ledger.append({ kind, exchange, at: Date.now(), facts: { step: kind } })
    observer.acknowledged.push({ exchange, kind })
  }
  const receipt = await ledger.findReceipt(exchange)
  if (receipt === null) throw new Error('an acknowledged exchange has no receipt')
  observer.heads.seeReceipt(receipt)
}

/** Returns how many operations the script takes when nothing fails. */
export async function countOperations(base: Base): Promise<number> {
  const disk = base.disk.copy()
  await runScript({ ...base, disk }, new LedgerObserver())
  return disk.log.length
}

export interface Crash {
  readonly fault: Fault
  /** One after the other: a process that dies keeps the page cache, a power loss does not. */
  readonly losses: readonly (Survival | 'process only')[]
  /** The first opening after that fails as well, and then the power. */
  readonly inRecovery: Fault | null
}

/**
 * Runs the script into the fault, takes away what was not synced, opens again, and demands: every
 * acknowledged entry is there, nothing contradicts itself, no intent is left open, and the log
 * leads through every checkpoint that ever left it. Throws otherwise.
 */
export async function crashLedger(base: Base, crash: Crash): Promise<void> {
  const { fault, losses, inRecovery } = crash
  const { keys, limits } = base
  const disk = base.disk.copy()
  const observer = new LedgerObserver()
  disk.restart(fault)
  await runScript({ disk, keys, limits }, observer)
  for (const loss of losses) {
    if (loss === 'process only') disk.restart()
    else disk.powerLoss(loss)
    if (inRecovery !== null && loss === losses[0]) {
      disk.restart(inRecovery)
      await openLossyLedger(disk, keys, { limits }).catch(() => null)
      disk.powerLoss('synced')
    }
    // Not closed: the next loss finds a ledger that has only just recovered.
    await demandWhole(await openLossyLedger(disk, keys, { limits }), observer)
  }
}

async function demandWhole(ledger: Ledger, observer: LedgerObserver): Promise<void> {
  for (const { exchange, kind } of observer.acknowledged) {
    const found = await ledger.explain(exchange)
    if (!found.some((entry) => entry.kind === kind)) {
      throw new Error(`the acknowledged ${kind} of ${exchange} is lost`)
    }
  }
  const { unclosed } = await ledger.check()
  if (unclosed !== 0) throw new Error('an intent was left open')
  await observer.heads.follow((path) => ledger.findResource(path))
}

export function newExchange(): string {
  return createExchangeId('a', Date.now(), systemRandom(10))
}

/** A fixed sequence, so that a failing crash fails again. */
function coin(seed: number): () => boolean {
  let state = seed * 2_654_435_761 + 1
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    return state >>> 31 === 1
  }
}

const whens = ['before', 'after'] as const
const processes = ['goes on', 'dies'] as const

const lossesOf = [
  (at: number) => [coin(at)],
  () => ['synced'] as const,
  () => ['process only', 'synced'] as const,
  (at: number) => [coin(at), 'synced'] as const,
  () => ['process only'] as const,
] as const

/** A recovery takes about as many operations. */
const recoveryOperations = 45

/** Every operation fails once in each of the ways, with one way of losing data each. */
export function crashesAt(at: number): readonly Crash[] {
  return whens.flatMap((when, i) =>
    processes.map((process, j): Crash => {
      const turn = at + 2 * i + j
      const again = { at: 1 + ((turn * 7) % recoveryOperations), when, process } as const
      return {
        fault: { at, when, process },
        losses: (lossesOf[turn % lossesOf.length] ?? lossesOf[0])(at),
        inRecovery: turn % 3 === 0 ? again : null,
      }
    }),
  )
}

/** Throws on the first crash that lost something; gives how many operations there were. */
export async function sweep(base: Base, chosen: (at: number) => readonly Crash[]): Promise<number> {
  const operations = await countOperations(base)
  for (let at = 1; at <= operations; at++) {
    for (const crash of chosen(at)) {
      await crashLedger(base, crash).catch((cause: unknown) => {
        throw new Error(`at operation ${at}: ${JSON.stringify(crash)}`, { cause })
      })
    }
  }
  return operations
}

/** Every operation of both scripts, every way: minutes, where the test takes a sample. */
export async function sweepEverything(): Promise<number> {
  let operations = 0
  for (const entries of [0, 252]) {
    for (const publishing of ['publishes', 'publishes nothing'] as const) {
      operations += await sweep(await createBase(entries, publishing), crashesAt)
    }
  }
  return operations
}
