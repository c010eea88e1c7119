import type { Ledger } from '../../packages/fabric/src/ledger/ledger.ts'
import type { HeadStore } from '../../packages/fabric/src/ledger/store.ts'
import { LossyDisk } from './lossy-files.ts'
import { createLedgerKeys, openLossyLedger, recordBounds } from './lossy-ledger.ts'
import { newExchange } from './lossy-matrix.ts'
import type { SeededRandom } from './seeded-random.ts'
import { SeenHeads } from './seen-heads.ts'

const keys = createLedgerKeys()

/** Every record stays in the write-ahead log, and no head is synced except for a receipt. */
const limits = { publishDelayMs: 3_600_000, publishEntries: 1_000_000, headSyncMs: 3_600_000 }

export interface DamagedDisk {
  readonly disk: LossyDisk
  readonly heads: SeenHeads
  /** Of the checkpoint in the last receipt that was handed out, and of the whole log. */
  readonly handedOut: number
  readonly size: number
  /** Changes one byte of the last record. */
  flip(at: number, bits: number): void
  readonly recordBytes: number
}

export interface DamageOptions {
  readonly before: number
  /** Entries after the receipt: each is acknowledged, and no checkpoint over it was handed out. */
  readonly beyond: number
  /** In place of the store of the ledger, for the control experiment. */
  readonly heads?: (heads: HeadStore) => HeadStore
}

/**
 * A ledger that handed out a receipt and then lost power: nothing that was not synced is left. Its
 * write-ahead log ends with the record that the receipt's checkpoint covers, or with later ones.
 */
export async function handOutAndLosePower(options: DamageOptions): Promise<DamagedDisk> {
  const { before, beyond } = options
  const disk = new LossyDisk()
  const heads = new SeenHeads()
  const ledger = await openLossyLedger(disk, keys, {
    limits,
    ...(options.heads === undefined ? {} : { heads: options.heads }),
  })
  for (let i = 0; i < before; i++) await handOut(ledger, heads)
  const handedOut = ledger.size
  for (let i = 0; i < beyond; i++) await refuse(ledger)
  const { size } = ledger
  disk.powerLoss('synced')
  const [path = ''] = disk.paths().filter((name) => name.includes('/wal/'))
  const [start = 0, end = 0] = recordBounds(disk.readWhole(path)).slice(-2)
  return {
    ...{ disk, heads, handedOut, size, recordBytes: end - start },
    flip(at, bits) {
      const bytes = disk.readWhole(path)
      bytes[start + at] = (bytes[start + at] ?? 0) ^ bits
      disk.overwrite(path, bytes)
    },
  }
}

async function refuse(ledger: Ledger): Promise<string> {
  const exchange = newExchange()
  await ledger.append({ kind: 'refusal', exchange, at: Date.now(), facts: { code: 'A' } })
  return exchange
}

async function handOut(ledger: Ledger, heads: SeenHeads): Promise<void> {
  const receipt = await ledger.findReceipt(await refuse(ledger))
  if (receipt === null) throw new Error('an acknowledged exchange has no receipt')
  heads.seeReceipt(receipt)
}

/**
 * Opens the ledger again and goes on with it, until another receipt was handed out. Throws
 * LedgerDamage or WalDamage where that is refused, and any other error where it is not and the log
 * contradicts a checkpoint that was handed out before. Returns the size that was found.
 */
export async function goOn({ disk, heads }: DamagedDisk): Promise<number> {
  disk.restart()
  const ledger = await openLossyLedger(disk, keys, { limits })
  const { size } = ledger
  try {
    await handOut(ledger, heads)
    await ledger.check()
    await heads.follow((path) => ledger.findResource(path))
  } finally {
    await ledger.close()
  }
  return size
}

export function isRefusedAsDamage(cause: unknown): boolean {
  return cause instanceof Error && (cause.name === 'LedgerDamage' || cause.name === 'WalDamage')
}

/**
 * The last record is damaged at a random byte. The ledger has to refuse to start if a checkpoint
 * that covers it was handed out, and to cut it off otherwise. Returns the fault, or null.
 */
export async function damageLastRecord(random: SeededRandom): Promise<string | null> {
  const beyond = random.chance(0.5) ? 0 : random.between(1, 3)
  const lost = await handOutAndLosePower({ before: random.between(1, 4), beyond })
  const at = random.between(0, lost.recordBytes - 1)
  const bits = random.between(1, 255)
  lost.flip(at, bits)
  const what = `byte ${at} of ${lost.recordBytes} changed, ${beyond} records beyond the hand-out`
  const found = await goOn(lost).catch((cause: unknown) => {
    if (isRefusedAsDamage(cause)) return null
    throw cause
  })
  if (beyond === 0 && found !== null) return `cut off as torn: ${what}`
  if (beyond > 0 && found !== lost.size - 1) return `found ${found} of ${lost.size}: ${what}`
  if (found !== null) return null
  // Refused and not repaired: with the byte put back, everything is there.
  lost.flip(at, bits)
  const whole = await goOn(lost)
  return whole === lost.size ? null : `found ${whole} of ${lost.size}, put back: ${what}`
}

/** A store that takes the sync before a hand-out for granted. */
export function withoutHeadSync(heads: HeadStore): HeadStore {
  return {
    load: () => heads.load(),
    replace: (previousSize, next) => heads.replace(previousSize, next),
    sync: () => Promise.resolve(),
  }
}

/**
 * The control experiment: without the sync before a hand-out, a damaged record is cut off, and a
 * second head of the size of a receipt is signed. Reports whether that was seen.
 */
export async function forgetHandedOut(): Promise<boolean> {
  const lost = await handOutAndLosePower({ before: 3, beyond: 0, heads: withoutHeadSync })
  lost.flip(lost.recordBytes >> 1, 1)
  return goOn(lost).then(
    () => false,
    (cause: unknown) => !isRefusedAsDamage(cause),
  )
}
