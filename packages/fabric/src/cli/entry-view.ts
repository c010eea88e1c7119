import type { Style } from './output/paint.ts'
import { formatTime } from './output/quantities.ts'
import type { Cell, Column } from './output/table.ts'

/** A ledger entry as administration shows it: byte strings are hex. */
export interface EntryView {
  readonly kind: string
  readonly exchange: string
  readonly index: number
  readonly at: number
  readonly facts: Readonly<Record<string, string | number | boolean>>
  /** The caller's short name; null before anybody was authenticated. */
  readonly caller: string | null
}

export const ENTRY_COLUMNS: readonly Column[] = [
  { title: 'index', align: 'right', spare: true },
  { title: 'time', spare: true },
  { title: 'kind', spare: true },
  { title: 'caller' },
  { title: 'receiver' },
  { title: 'operation' },
  { title: 'result' },
  { title: 'exchange', whole: true },
]

export function entryRow(entry: EntryView): readonly Cell[] {
  const result = resultOf(entry)
  return [
    entry.index,
    formatTime(entry.at).slice('2026-01-01 '.length),
    entry.kind,
    callerOf(entry),
    receiverOf(entry),
    operationOf(entry),
    { text: result, style: styleOfResult(result) },
    entry.exchange,
  ]
}

/** A lifecycle entry has no caller; its principal is the one that enrolled, renewed or got a token. */
export function callerOf({ caller, facts }: EntryView): string {
  const agent = textOf(facts['agent'])
  return caller ?? agent.replace(/^spiffe:\/\/[^/]+\/(?:agent|user)\//, '')
}

export function receiverOf({ facts }: EntryView): string {
  return textOf(facts['receiver'])
}

export function operationOf({ facts }: EntryView): string {
  const operation = textOf(facts['operation'] ?? facts['event'])
  const named = [facts['tool'], facts['object'] ?? objectOfEvent(facts)].map(textOf)
  const about = named.filter((name) => name !== '-').join(' ')
  const reason = textOf(facts['reason'])
  return [operation, about, reason === '-' ? '' : `(${reason})`].filter(Boolean).join(' ')
}

/** What changed, where the fabric itself changed. */
function objectOfEvent(facts: EntryView['facts']): EntryView['facts'][string] | undefined {
  return facts['event'] === 'policies-changed' ? facts['policy.version'] : undefined
}

/** `delivered`, a refusal code, the event of a lifecycle entry; an intent was permitted. */
export function resultOf({ kind, facts }: EntryView): string {
  if (kind === 'intent') return 'permitted'
  return textOf(facts['code'] ?? facts['result'] ?? facts['event'])
}

export function styleOfResult(result: string): Style {
  if (/^[A-Z_]+$/.test(result)) return 'red'
  if (result === 'permitted') return 'dim'
  return ['delivered', 'completed'].includes(result) ? 'green' : 'yellow'
}

/** Exchanges under way that are remembered, so that how they end can be said of somebody. */
const openMax = 1_000

/**
 * Says of a closing entry who asked what of whom, which the ledger holds once, in the intent. What
 * was opened before the listening began stays unknown.
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
    return { ...entry, caller: intent.caller, facts: { ...intent.facts, ...entry.facts } }
  }
}

function textOf(fact: string | number | boolean | undefined): string {
  return fact === undefined || fact === '' ? '-' : String(fact)
}
