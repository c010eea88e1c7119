import { join } from 'node:path'

/** The slot of a fabric that is one process. */
export const FIRST_SLOT = 'a'

/** The log's name; each slot has a log of its own. */
export function slotOrigin(trustDomain: string, slot: string): string {
  return `${trustDomain}/ledger/${slot}`
}

/** The folder of a slot's log, below `ledger/` or below the folder of the stored heads. */
export function slotFolder(ledgerDir: string, slot: string): string {
  return join(ledgerDir, slot)
}
