import { RefusedError } from '@countersign/sdk'
import type { FabricClient } from './fabric-client.ts'
import { Failure } from './failure.ts'

/** The place before the first entry that is left, so that a reader has no gap at its start. */
export async function firstCursor({ admin }: Pick<FabricClient, 'admin'>): Promise<string> {
  const { ledger } = await admin('status', {})
  return `${ledger.slot}.${ledger.vkey.split('+')[1] ?? ''}.${ledger.first}`
}

/**
 * For a cursor before the first entry that is left: states how to go on from there. Every other
 * error stays as it is.
 */
export const explainPruned =
  (fabric: Pick<FabricClient, 'admin'>, nextOf: (cursor: string) => string) =>
  async (error: unknown): Promise<never> => {
    if (!(error instanceof RefusedError) || error.code !== 'ENTRIES_PRUNED') throw error
    const what = 'entries behind this cursor were removed under the retention policy'
    const next = nextOf(await firstCursor(fabric))
    throw new Failure('no', `ENTRIES_PRUNED: ${what}`, next)
  }
