import { createPublicKey } from 'node:crypto'
import { parseVkey, type Trust, toBase64Url } from '@countersign/protocol'
import { openFileLedgerStore } from '../adapters/file/ledger-store.ts'
import type { Config } from '../config/config.ts'
import { CheckpointVerifier } from '../ledger/checkpoint.ts'
import type { FlushedLog } from '../ledger/ledger.ts'
import { ledgerLimits } from '../ledger/limits.ts'
import { settleLedger } from '../ledger/settle-ledger.ts'
import { LedgerDamage } from '../ledger/store.ts'
import type { Clock } from '../lib/clock.ts'
import { slotFolders } from './log-slot.ts'

/**
 * Publishes all of the log of a slot that no process has, after a crash as well. Null for a slot
 * without an entry. Rejects while another process holds its lock.
 */
export async function settleStoppedLog(
  config: Pick<Config, 'dataDir' | 'ledger'>,
  { slot, trust, clock }: { readonly slot: string; readonly trust: Trust; readonly clock: Clock },
): Promise<FlushedLog | null> {
  const store = await openFileLedgerStore(slotFolders(config, slot))
  try {
    const key = verifierOf(trust, slot)
    if (key !== null) {
      const log = await settleLedger({ store, key, clock, limits: ledgerLimits })
      return log.size === 0 ? null : log
    }
    // A slot that was taken and never served has nothing that a key would verify.
    if ((await store.resources.read('checkpoint')) === null) return null
    throw new LedgerDamage(
      `trust.json does not list the log of slot ${slot}: start the fabric once`,
    )
  } finally {
    await store.close()
  }
}

/** The public key of the log of a slot; null where the trust file does not list it. */
export function verifierOf({ slots }: Trust, name: string): CheckpointVerifier | null {
  const slot = slots.find((each) => each.slot === name)
  if (slot === undefined) return null
  const x = toBase64Url(parseVkey(slot.vkey).publicKey)
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  return new CheckpointVerifier(slot.origin, key)
}
