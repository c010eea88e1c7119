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
  { title: 'time' },
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
    entry.caller ?? '-',
    receiverOf(entry),
    operationOf(entry),
    { text: result, style: styleOfResult(result) },
    entry.exchange,
  ]
}

export function receiverOf({ facts }: EntryView): string {
  return textOf(facts['receiver'])
}

export function operationOf({ facts }: EntryView): string {
  const tool = textOf(facts['tool'])
  const operation = textOf(facts['operation'])
  return tool === '' || tool === '-' ? operation : `${operation} ${tool}`
}

/** `delivered`, a refusal code, the event of a lifecycle entry, or nothing yet. */
export function resultOf({ facts }: EntryView): string {
  return textOf(facts['code'] ?? facts['result'] ?? facts['event'])
}

export function styleOfResult(result: string): Style {
  if (/^[A-Z_]+$/.test(result)) return 'red'
  return ['delivered', 'completed'].includes(result) ? 'green' : 'yellow'
}

function textOf(fact: string | number | boolean | undefined): string {
  return fact === undefined || fact === '' ? '-' : String(fact)
}
