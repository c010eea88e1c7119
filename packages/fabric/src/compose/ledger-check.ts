import { createPublicKey } from 'node:crypto'
import { parseTrust, parseVkey, toBase64Url } from '@countersign/protocol'
import { openFileLedgerStore } from '../adapters/file/ledger-store.ts'
import type { Config } from '../config/config.ts'
import { CheckpointVerifier } from '../ledger/checkpoint.ts'
import { inspectLedger, type LedgerOutlook } from '../ledger/inspect-ledger.ts'
import { ledgerLimits } from '../ledger/limits.ts'
import type { Clock } from '../lib/clock.ts'
import { FIRST_SLOT, slotFolders } from './log-slot.ts'

/**
 * Reports the state in which the next start will find the ledger of a stopped fabric; `trust` is
 * the text of its trust file.
 */
export async function inspectLedgerFolder(
  config: Pick<Config, 'dataDir' | 'ledger'>,
  trust: string,
  clock: Clock,
): Promise<LedgerOutlook & { readonly refuseBytes: number; readonly warnBytes: number }> {
  const name = config.ledger.slot ?? FIRST_SLOT
  const slot = parseTrust(trust).slots.find((each) => each.slot === name)
  if (slot === undefined) throw new Error(`the trust file does not list the log slot ${name}`)
  const { origin, vkey } = slot
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(parseVkey(vkey).publicKey) }
  const key = new CheckpointVerifier(origin, createPublicKey({ key: jwk, format: 'jwk' }))
  const store = await openFileLedgerStore(slotFolders(config, name))
  try {
    const outlook = await inspectLedger({ store, key, clock, limits: ledgerLimits })
    const { freeBytesMin: refuseBytes, freeBytesWarn: warnBytes } = ledgerLimits
    return { ...outlook, refuseBytes, warnBytes }
  } finally {
    await store.close()
  }
}
