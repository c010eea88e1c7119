import {
  type EntryPage,
  type ExchangePage,
  type ExchangeView,
  isPrincipalKey,
  type LedgerFindArgs,
  type LogPartArgs,
} from '@countersign/protocol'
import {
  EntriesPruned,
  type ExchangeLine,
  type LedgerReads,
  type LineQuery,
  type OpenedEntry,
  type Term,
  UnknownCursor,
} from '../ledger/ledger-reads.ts'
import { refusalOfBusy } from '../ledger/refusals.ts'
import { LedgerBusy } from '../ledger/unavailable.ts'
import { Refusal } from '../lib/refusal.ts'
import { entryView } from './entry-view.ts'
import { type CursorLog, formatCursor, parseCursor } from './ledger-cursor.ts'
import type { LedgerAdmin } from './ports.ts'

/** The log that an operation reads. */
export type ReadLog = LedgerReads & CursorLog & { readonly size: number }

interface Counted {
  readonly countMax: number
}

/** The entries from a cursor on, or from the first one, as they are recorded. */
export function readEntries(
  log: ReadLog,
  { countMax, after }: { readonly countMax: number; readonly after?: string | undefined },
  owner: string,
): Promise<EntryPage | Refusal> {
  return withCursor(log, after ?? formatCursor(log, log.first), async (from) => {
    const { entries, next } = await log.read(from, countMax, owner)
    return { entries: entries.map(entryView), newer: formatCursor(log, next) }
  })
}

/** The newest exchanges, or those next to a cursor, one view for each. */
export function listExchanges(
  log: ReadLog,
  part: LogPartArgs & Counted,
  owner: string,
): Promise<ExchangePage | Refusal> {
  return listPart(log, part, { owner })
}

/** The newest exchanges that meet every condition, or those next to a cursor. */
export function findExchanges(
  ledger: LedgerAdmin,
  { countMax, before, after, since, until, ...conditions }: LedgerFindArgs & Counted,
  owner: string,
): Promise<ExchangePage | Refusal> {
  const terms: Term[] = []
  for (const table of tables) {
    const value = conditions[table]
    if (value === undefined) continue
    const stated = table === 'caller' || table === 'user' ? principalOf(ledger, value) : value
    if (stated === null) {
      const unknown = new Refusal('RECEIVER_UNKNOWN', `no principal is named ${value}`)
      return Promise.resolve(unknown)
    }
    terms.push({ table, values: [stated] })
  }
  return listPart(ledger.reads, { countMax, before, after }, { owner, terms, since, until })
}

/** A party of another issuer may be on record without being in the directory. */
function principalOf(ledger: LedgerAdmin, name: string): string | null {
  return ledger.principalOf(name) ?? (isPrincipalKey(name) ? name : null)
}

const tables = ['caller', 'user', 'receiver', 'operation', 'tool', 'result', 'code'] as const

function listPart(
  log: ReadLog,
  { countMax, before, after }: LogPartArgs & Counted,
  conditions: Pick<LineQuery, 'owner' | 'terms' | 'since' | 'until'>,
): Promise<ExchangePage | Refusal> {
  if (before !== undefined && after !== undefined) {
    return Promise.resolve(new Refusal('MESSAGE_MALFORMED', 'before and after exclude each other'))
  }
  return withCursor(log, before ?? after ?? formatCursor(log, log.size), async (at) => {
    const bound = after === undefined ? { before: at } : { after: at }
    const { lines, older, newer } = await log.list({ countMax, ...bound, ...conditions })
    return {
      exchanges: lines.map(exchangeView),
      older: older === null ? null : formatCursor(log, older),
      newer: formatCursor(log, newer),
    }
  })
}

/**
 * Calls `read` with the index that a cursor stands for; refuses one that the log does not have, and
 * a reader that reads too much at once.
 */
export async function withCursor<Result>(
  log: ReadLog,
  cursor: string,
  read: (index: number) => Result | Promise<Result>,
): Promise<Result | Refusal> {
  const index = parseCursor(cursor, log)
  if (index instanceof Refusal) return index
  try {
    return await read(index)
  } catch (cause) {
    if (cause instanceof LedgerBusy) return refusalOfBusy(cause)
    if (cause instanceof EntriesPruned) return refusalOfPruned(log, cause)
    if (cause instanceof UnknownCursor) return new Refusal('CURSOR_UNKNOWN', cause.message)
    throw cause
  }
}

function refusalOfPruned(log: CursorLog, { first }: EntriesPruned): Refusal {
  const next = `the first cursor that is left is ${formatCursor(log, first)}`
  return new Refusal('ENTRIES_PRUNED', `the entries before ${first} were pruned; ${next}`)
}

/** Byte strings, which are long, and facts of the operator's side are left to `explain`. */
function exchangeView({ exchange, index, entries }: ExchangeLine): ExchangeView {
  const [first, last] = [entries[0], entries.at(-1)]
  if (first === undefined || last === undefined) throw new TypeError('an exchange has an entry')
  const [opening, closing] = [entryView(first), entryView(last)]
  const facts = Object.entries({ ...opening.facts, ...closing.facts }).filter(
    ([name]) => !name.startsWith('private.') && !isBytes(first, name) && !isBytes(last, name),
  )
  return {
    ...closing,
    ...{ exchange, index, at: opening.at },
    caller: opening.caller ?? closing.caller,
    principal: opening.principal ?? closing.principal,
    object: opening.object ?? closing.object,
    reason: opening.reason ?? closing.reason,
    facts: Object.fromEntries(facts),
    durationMs: first === last ? null : Math.max(0, closing.at - opening.at),
  }
}

function isBytes({ facts }: OpenedEntry, name: string): boolean {
  return facts[name] instanceof Uint8Array
}
