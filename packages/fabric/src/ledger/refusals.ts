import { formatLimit, type RefusalCode } from '@countersign/protocol'
import { Refusal } from '../lib/refusal.ts'
import { ExchangeNotOpen, LedgerBusy } from './unavailable.ts'

const retryAfterMs = 1000

/** A caller's own share, and places of readers; every other limit is the fabric's for recording. */
const codes: Readonly<Record<string, RefusalCode>> = {
  'limits.openExchanges': 'RATE_LIMITED',
  'ledger.readsPerReader': 'RATE_LIMITED',
  'ledger.reads': 'OVERLOADED',
  'ledger.erasuresPerOwner': 'RATE_LIMITED',
  'ledger.followersPerReader': 'RATE_LIMITED',
  'ledger.followers': 'OVERLOADED',
}

/** Nothing was recorded, and so nothing delivered: the same message may be sent again later. */
export function refusalOfBusy({ limit, message }: LedgerBusy): Refusal {
  const code = codes[limit.name] ?? 'LEDGER_UNAVAILABLE'
  return new Refusal(code, message, retryAfterMs, { limit: formatLimit(limit) })
}

/** For an entry that the ledger does not take; null when it failed to record what it should. */
export function refusalOfEntry(cause: unknown): Refusal | null {
  if (cause instanceof LedgerBusy) return refusalOfBusy(cause)
  return cause instanceof ExchangeNotOpen ? new Refusal('NOT_PERMITTED', cause.message) : null
}

/** For a refusal or an outcome that could not be recorded. */
export function refusalOfFailure(cause: unknown): Refusal {
  return cause instanceof LedgerBusy
    ? refusalOfBusy(cause)
    : new Refusal('LEDGER_UNAVAILABLE', String(cause))
}
