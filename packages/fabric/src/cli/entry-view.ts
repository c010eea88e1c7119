import { type EntryView, type ExchangeView, quotedUnlessWord } from '@countersign/protocol'
import type { Style } from './output/paint.ts'
import { formatMilliseconds, formatTime } from './output/quantities.ts'
import { formatFittedLine } from './output/stream-lines.ts'
import { type Cell, type Column, shown, type TableLayout } from './output/table.ts'

export const ENTRY_COLUMNS: readonly Column[] = [
  { title: 'index', align: 'right', spare: true },
  { title: 'time', spare: true },
  { title: 'kind', spare: true },
  { title: 'transport', spare: true },
  { title: 'caller' },
  { title: 'receiver' },
  { title: 'operation' },
  { title: 'result' },
  { title: 'recorded by' },
  { title: 'exchange', whole: true },
]

/** The position of the duration among the columns of an exchange, after its result. */
const durationAt = ENTRY_COLUMNS.findIndex(({ title }) => title === 'result') + 1

/**
 * Returns the columns for exchanges that are all known. A narrow terminal leaves the column of the
 * recorder out if the fabric recorded every one.
 */
export function columnsOf(exchanges: readonly ExchangeView[]): readonly Column[] {
  const isFabrics = exchanges.every(({ producer }) => producer === null)
  const took: Column = { title: 'took', align: 'right', spare: true }
  return ENTRY_COLUMNS.toSpliced(durationAt, 0, took).map((column) =>
    isFabrics && column.title === 'recorded by' ? { ...column, spare: true } : column,
  )
}

/** The cells of `columnsOf`: one row for a whole exchange. */
export function exchangeRow(exchange: ExchangeView): readonly Cell[] {
  const { durationMs, kind, ended } = exchange
  const took = durationMs === null ? '-' : formatMilliseconds(durationMs)
  const row = entryRow(exchange).toSpliced(durationAt, 0, took)
  if (kind !== 'intent' || ended !== null || exchange.facts['erased'] === true) return row
  return row.with(durationAt - 1, { text: 'under way', style: 'yellow' })
}

/**
 * The widths of these columns in a stream, which hold most names; an exchange id has 38 columns
 * in a slot of one letter.
 */
export const WATCH_WIDTHS: readonly number[] = [6, 8, 8, 7, 14, 14, 20, 18, 12, 38]

/** Columns that one line of a stream needs; a narrower terminal shows an entry in two lines. */
const readableWidth = ENTRY_COLUMNS.reduce(
  (sum, { spare }, i) => (spare === true ? sum : sum + 2 + (WATCH_WIDTHS[i] ?? 0)),
  -2,
)

/**
 * An entry as it is followed: one line, or two where the terminal has no room for the columns, with
 * nothing cut. Text of callers is below the first line, and further in.
 */
export function formatEntry(entry: EntryView, { width, paint }: TableLayout): string {
  const row = entryRow(entry)
  if (width >= readableWidth) {
    return formatFittedLine(row, { columns: ENTRY_COLUMNS, widths: WATCH_WIDTHS, width, paint })
  }
  const [, time = '', , , caller = '', receiver = '', operation = ''] = row
  const result = resultOf(entry)
  const painted = paint(styleOfResult(result), shown(result))
  const recorder = entry.producer === null ? [] : [`recorded by ${shown(recorderOf(entry))}`]
  const [from, to] = [caller, receiver].map(shown)
  return [
    [shown(time), entry.exchange, painted].join('  '),
    ['', `${from} → ${to}`, shown(operation), ...recorder].join('  '),
  ].join('\n')
}

export function entryRow(entry: EntryView): readonly Cell[] {
  const result = resultOf(entry)
  return [
    entry.index,
    formatTime(entry.at).slice('2026-01-01 '.length),
    kindOf(entry),
    textOf(entry.facts['transport']),
    callerOf(entry),
    receiverOf(entry),
    { phrase: operationOf(entry) },
    { text: result, style: styleOfResult(result) },
    recorderOf(entry),
    entry.exchange,
  ]
}

/** Of a lifecycle entry, which has no caller, the one that enrolled, renewed or got a token. */
export function callerOf({ principal }: EntryView): string {
  return textOf(principal)
}

export function receiverOf({ facts }: EntryView): string {
  return textOf(facts['receiver'])
}

/** `agent.quarantine planner because "leaked key"`: no word of a caller passes for one of ours. */
export function operationOf({ facts, object, reason, changedBy }: EntryView): string {
  const stated = textOf(facts['operation'] ?? facts['event'])
  const operation = stated === '-' ? stated : quotedUnlessWord(stated)
  const named = [facts['tool'], object]
    .map(textOf)
    .filter((name) => name !== '-')
    .map(quotedUnlessWord)
  const why = reason === null ? [] : [`because ${JSON.stringify(reason)}`]
  const who = changedBy === null ? [] : [`by ${changedBy}`]
  const times = typeof facts['reads'] === 'number' ? [`× ${facts['reads']}`] : []
  return [operation, ...named, ...why, ...who, ...times].join(' ')
}

/** Returns the party that vouches for the entry. No agent can have the fabric's name. */
export function recorderOf({ producer }: EntryView): string {
  return producer ?? 'fabric'
}

/**
 * The kind as people read it. A connector records its side of a call as one `refusal`, also where
 * the receiver may have acted, so an ending has the last word.
 */
export function kindOf({ kind, ended }: EntryView): string {
  if (ended === null) return kind
  if (ended.result === 'unknown') return 'indeterminate'
  return ended.result === 'refused' && kind === 'refusal' ? 'refusal' : 'outcome'
}

/**
 * `delivered`, `unknown: restart`, a refusal code, the event of a lifecycle entry; an intent was
 * permitted.
 */
export function resultOf({ kind, facts, ended }: EntryView): string {
  if (facts['erased'] === true) return 'erased'
  if (ended === null) return kind === 'intent' ? 'permitted' : textOf(facts['event'])
  const { result, code, reason } = ended
  if (result === 'unknown') return reason === null ? result : `${result}: ${reason}`
  if (code === null) return result
  return result === 'refused' ? code : `${result}: ${code}`
}

export function styleOfResult(result: string): Style {
  if (/^[A-Z][A-Z_]+$/.test(result)) return 'red'
  if (result === 'permitted') return 'dim'
  return ['delivered', 'completed'].includes(result) ? 'green' : 'yellow'
}

/** Exchanges under way that are remembered, so that their ending can be attributed to a caller. */
const openMax = 1_000

/**
 * Adds to a closing entry the caller, the request and the receiver, which the ledger holds once, in
 * the intent. Exchanges that were opened before the listening began stay unknown.
 */
export function createEntryCompletion(): (entry: EntryView) => EntryView {
  const opened = new Map<string, EntryView>()
  return (entry) => {
    if (entry.kind === 'intent') {
      opened.set(entry.exchange, entry)
      const [oldest] = opened.keys()
      if (opened.size > openMax && oldest !== undefined) opened.delete(oldest)
      return entry
    }
    const intent = opened.get(entry.exchange)
    if (intent === undefined) return entry
    opened.delete(entry.exchange)
    const { caller, principal, object, reason } = intent
    const facts = { ...intent.facts, ...entry.facts }
    return { ...entry, caller, principal, object, reason, facts }
  }
}

function textOf(fact: string | number | boolean | null | undefined): string {
  return fact === undefined || fact === null || fact === '' ? '-' : String(fact)
}
