import { formatLimit, type Limit } from '@countersign/protocol'

/** The ledger cannot promise durability now. */
export class LedgerUnavailable extends Error {
  override readonly name: string = 'LedgerUnavailable'
}

/**
 * A bound of the ledger is reached; nothing was recorded, and the same entry may be tried again.
 */
export class LedgerBusy extends LedgerUnavailable {
  override readonly name: string = 'LedgerBusy'
  readonly limit: Limit

  constructor(limit: Limit, detail: string) {
    super(`${detail}; over ${formatLimit(limit)}`)
    this.limit = limit
  }
}

/**
 * The exchange has no intent that this entry could close: it never began, or was closed already,
 * also because it was open for too long.
 */
export class ExchangeNotOpen extends TypeError {
  override readonly name = 'ExchangeNotOpen'
}
