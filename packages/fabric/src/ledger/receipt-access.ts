import { Refusal } from '../lib/refusal.ts'
import type { Ledger } from './ledger.ts'
import type { OpenedEntry } from './ledger-reads.ts'
import { subjectName, trustDomainOf } from './named-subjects.ts'
import type { OtherSlots } from './other-slots.ts'
import type { LogPruning } from './pruning.ts'

/** An authenticated caller that asks for a receipt. */
export interface ReceiptReader {
  readonly principal: string
  readonly kind: 'agent' | 'user'
  readonly name: string
  /** Null: every receiver. */
  readonly scopes: readonly string[] | null
}

/** Decides whose a receipt is, and why there is none. */
export interface ReceiptAccess {
  /** Reports whether `reader` is one of the two ends of the exchange, within its scopes. */
  isOwn(exchange: string, reader: ReceiptReader): Promise<boolean>
  /** The refusal to answer with when another log has the exchange; null otherwise. */
  elsewhere(exchange: string): Promise<Refusal | null>
  /** Null while no outcome, refusal or indeterminate closes the exchange. */
  find(exchange: string): Promise<Uint8Array | null>
  /**
   * The refusal for an exchange of a time of which entries were pruned; null otherwise. It depends
   * on the id alone, so that every caller may have it.
   */
  pruned(exchange: string): Refusal | null
  /**
   * The reason is only for callers that may have the receipt: no other caller can see whether an
   * exchange is there.
   */
  whyNone(exchange: string): Promise<Refusal>
}

const openAgainMs = 1_000

export function createReceiptAccess(
  ledger: Pick<Ledger, 'explain' | 'findReceipt' | 'origin'> & {
    readonly pruning: Pick<LogPruning, 'mayHave'>
  },
  others: OtherSlots,
): ReceiptAccess {
  return {
    elsewhere: (exchange) => others.refusalOf(exchange),
    async isOwn(exchange, reader) {
      const own = subjectName(reader.principal, trustDomainOf(ledger.origin))
      return isEnd(await ledger.explain(exchange), reader, own)
    },
    find: (exchange) => ledger.findReceipt(exchange),
    pruned: (exchange) =>
      ledger.pruning.mayHave(exchange)
        ? new Refusal('ENTRIES_PRUNED', prunedDetail(exchange))
        : null,
    async whyNone(exchange) {
      const entries = await ledger.explain(exchange)
      if (entries.some(({ erased }) => erased !== undefined)) {
        return new Refusal('EXCHANGE_ERASED', exchange)
      }
      if (ledger.pruning.mayHave(exchange) && entries.every(({ kind }) => kind !== 'intent')) {
        return new Refusal('ENTRIES_PRUNED', prunedDetail(exchange))
      }
      return entries.some(({ kind }) => kind === 'intent')
        ? new Refusal('EXCHANGE_OPEN', exchange, openAgainMs)
        : new Refusal('EXCHANGE_UNKNOWN', exchange)
    },
  }
}

/** For an id of which entries were pruned, or never were. */
export function prunedDetail(exchange: string): string {
  const next =
    'a receipt that a party kept still verifies, and backups from before have the entries'
  return `${exchange} began before entries that were pruned; ${next}`
}

/**
 * The receiver is the bare name of an agent: a user of that name is not it, and an agent of that
 * name does not own the messages that a channel or the fabric received. A scoped credential reads
 * entries that went to its targets, and not the other exchanges of its holder.
 */
function isEnd(
  entries: readonly OpenedEntry[],
  { principal, kind, name, scopes }: ReceiptReader,
  own: string | null,
): boolean {
  return entries.some(({ facts, erased }) => {
    // A subject that is left learns that the exchange was erased; its receivers are not known.
    if (erased !== undefined) return scopes === null && own !== null && erased.includes(own)
    const isInScope = scopes === null || scopes.some((scope) => scope === facts['receiver'])
    const isToAgent = facts['protocol'] !== 'queue' && facts['protocol'] !== 'admin'
    const isReceiver = isToAgent && kind === 'agent' && facts['receiver'] === name
    const isOne = facts['caller'] === principal || isReceiver
    return isInScope && isOne
  })
}
