import type { EntryKind, FactValue, Ledger } from '../../packages/fabric/src/ledger/ledger.ts'
import type { LedgerLimits } from '../../packages/fabric/src/ledger/limits.ts'
import type { LedgerOptions } from '../../packages/fabric/src/ledger/open-ledger.ts'
import type { ReplacedKeyStore } from '../../packages/fabric/src/ledger/replaced-keys.ts'
import type { RetentionPolicy } from '../../packages/fabric/src/ledger/retention-policy.ts'
import type { Clock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { createExchangeId } from '../../packages/protocol/src/index.ts'
import { LossyDisk } from './lossy-files.ts'
import { createLedgerKeys, openLossyLedger } from './lossy-ledger.ts'
import { memoryKeys } from './memory-keys.ts'

export const agedKeys = createLedgerKeys()
export const dayMs = 24 * 3_600_000
export const agedPolicy: RetentionPolicy = { keepDays: 30, holds: [] }
/** When the first entries of such a log are recorded. */
export const agedFrom: number = Date.UTC(2026, 0, 1)

/** A unit is one tile, with several segments of each index. */
export const agedLimits: Partial<LedgerLimits> = {
  pruneEntries: 256,
  segmentEntries: 64,
  termSegmentEntries: 128,
  windowBytesMax: 1024,
  publishDelayMs: 1,
  openIntentMs: 3_600_000,
}

/** A wall clock that the test sets, and a monotonic one, which `pass` moves as well. */
export class SetClock implements Clock {
  wall: number = agedFrom
  #up = 0

  now(): number {
    return this.wall
  }

  monotonic(): number {
    return this.#up
  }

  pass(ms: number): void {
    this.wall += ms
    this.#up += ms
  }
}

/** A log, with the keys of its subjects, which an erasure replaces. */
export interface AgedDisk {
  readonly subjectKeys: ReplacedKeyStore
  readonly disk: LossyDisk
  readonly clock: SetClock
}

export function openAged(
  { disk, clock, subjectKeys }: AgedDisk,
  options: Partial<LedgerOptions> = {},
): Promise<Ledger> {
  const given = { limits: agedLimits, clock, retention: agedPolicy }
  return openLossyLedger(disk, { ...agedKeys, subjectKeys }, { ...given, ...options })
}

const asked = { transport: 'gateway', protocol: 'http', operation: 'GET', receiver: 'b' }
export const agedCaller = 'spiffe://ledger.test/agent/a'
/** The facts that entries need for a receipt. */
export const intended = { ...asked, caller: agedCaller, 'attested.request': 'fabric' }
export const delivered = { result: 'delivered', 'attested.response': 'fabric' }

export function idAt(clock: Clock): string {
  return createExchangeId('a', clock.now(), systemRandom(10))
}

export function appendAt(
  ledger: Ledger,
  clock: Clock,
  draft: {
    readonly kind: EntryKind
    readonly exchange: string
    readonly facts: Readonly<Record<string, FactValue>>
  },
) {
  return ledger.append({ at: clock.now(), ...draft })
}

async function exchange(ledger: Ledger, clock: Clock): Promise<string> {
  const id = idAt(clock)
  await appendAt(ledger, clock, { kind: 'intent', exchange: id, facts: intended })
  await appendAt(ledger, clock, { kind: 'outcome', exchange: id, facts: delivered })
  return id
}

/** Appends exchanges until the log has at least `size` entries. */
export async function fillTo(
  ledger: Ledger,
  clock: Clock,
  size: number,
): Promise<readonly string[]> {
  const made: Promise<string>[] = []
  for (let at = ledger.size; at < size; at += 2) made.push(exchange(ledger, clock))
  return Promise.all(made)
}

export interface AgedLedger extends AgedDisk {
  readonly old: readonly string[]
  readonly recent: readonly string[]
}

/** A closed log of 520 entries of 1 January 2026, and of 100 that are sixty days younger. */
export async function createAged(): Promise<AgedLedger> {
  const subjectKeys = memoryKeys()
  const opened = { disk: new LossyDisk(), clock: new SetClock(), subjectKeys }
  const { clock } = opened
  const ledger = await openAged(opened)
  const old = await fillTo(ledger, clock, 520)
  clock.pass(60 * dayMs)
  const recent = await fillTo(ledger, clock, 620)
  await ledger.close()
  return { ...opened, old, recent }
}

/** Another one in the same state, with a clock of its own. */
export async function copyAged({
  disk,
  clock,
  subjectKeys,
  ...rest
}: AgedLedger): Promise<AgedLedger> {
  const own = new SetClock()
  own.pass(clock.now() - own.now())
  const keys = memoryKeys()
  await keys.store((await subjectKeys.load()) ?? new Uint8Array())
  return { disk: disk.copy(), clock: own, subjectKeys: keys, ...rest }
}

/** The files of the log, below its folder. */
export function logPaths(disk: LossyDisk): readonly string[] {
  return disk.paths().map((path) => path.replace('/ledger/log/', ''))
}
