import { isExchangeId, isFormerExchangeId } from '@countersign/protocol'
import { Failure } from './failure.ts'
import { legible } from './output/display-width.ts'

/** Throws before anything is sent where the argument of a command is not the id of an exchange. */
export function assertExchangeId(exchange: string): void {
  if (isExchangeId(exchange)) return
  if (isFormerExchangeId(exchange)) {
    const next = 'ask with the version of countersign whose ledger holds it'
    throw new Failure(
      'usage',
      `${exchange} is an id of an earlier version: ids begin with exc_<slot>_`,
      next,
    )
  }
  const next = 'copy it from the Countersign-Exchange header or from `countersign ledger recent`'
  throw new Failure('usage', `${legible(exchange)} is not the id of an exchange`, next)
}
