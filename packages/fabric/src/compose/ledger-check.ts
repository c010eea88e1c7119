import { parseTrust } from '@countersign/protocol'
import { openFileLedgerStore } from '../adapters/file/ledger-store.ts'
import type { Config } from '../config/config.ts'
import { inspectLedger, type LedgerOutlook } from '../ledger/inspect-ledger.ts'
import { ledgerLimits } from '../ledger/limits.ts'
import type { Clock } from '../lib/clock.ts'
import { slotFolders } from './log-slot.ts'
import { verifierOf } from './stopped-logs.ts'

export interface InspectedLog {
  readonly slot: string
  /** The text of the trust file. */
  readonly trust: string
  readonly clock: Clock
}

/**
 * Reports the state in which the next start will find the log of a slot that no process holds; null
 * where the trust file does not list it.
 */
export async function inspectLedgerFolder(
  config: Pick<Config, 'dataDir' | 'ledger'>,
  { slot: name, trust, clock }: InspectedLog,
): Promise<(LedgerOutlook & { readonly refuseBytes: number; readonly warnBytes: number }) | null> {
  const key = verifierOf(parseTrust(trust), name)
  if (key === null) return null
  const store = await openFileLedgerStore(slotFolders(config, name))
  try {
    const outlook = await inspectLedger({ store, key, clock, limits: ledgerLimits })
    const { freeBytesMin: refuseBytes, freeBytesWarn: warnBytes } = ledgerLimits
    return { ...outlook, refuseBytes, warnBytes }
  } finally {
    await store.close()
  }
}
