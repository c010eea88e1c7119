import { type EntryKind, endingOf, type FactValue } from '@countersign/protocol'
import type { ExchangeLine, Term, TermTable } from './ledger-reads.ts'

/** The number of a table is part of every key of the index, so that it never changes. */
export const TERM_TABLES: Readonly<Record<TermTable, number>> = {
  caller: 1,
  user: 2,
  receiver: 3,
  operation: 4,
  tool: 5,
  result: 6,
  code: 7,
}

/** The result of an exchange that nothing has closed yet; no entry states it. */
export const OPEN_RESULT = 'open'

type Facts = Readonly<Record<string, FactValue>>

/** Calls `add` with each value by which an entry of the log is found. */
export function visitTerms(
  kind: EntryKind,
  facts: Facts,
  add: (table: TermTable, value: string) => void,
): void {
  const visit = (table: TermTable, value: FactValue | null | undefined): void => {
    if (typeof value === 'string' && value !== '') add(table, value)
  }
  // An entry of administration has no caller, and is listed under the principal that it is about.
  visit('caller', facts['caller'] ?? facts['agent'])
  visit('user', facts['caller.user'])
  visit('receiver', facts['receiver'])
  visit('operation', facts['operation'] ?? facts['event'])
  visit('tool', facts['tool'])
  if (kind === 'intent') return add('result', OPEN_RESULT)
  const ending = endingOf(kind, facts)
  visit('result', ending?.result)
  visit('code', ending?.code)
}

/** Reports whether an exchange has what is sought, by its opened entries. */
export function matches({ entries }: ExchangeLine, terms: readonly Term[]): boolean {
  const isOpen = entries.length === 1 && entries[0]?.kind === 'intent'
  return terms.every((term) =>
    entries.some(({ kind, facts, erased }) => {
      // It states nothing any more, not even that it has no result.
      if (erased !== undefined) return false
      let isFound = false
      visitTerms(kind, facts, (table, value) => {
        const isStated = table !== 'result' || kind !== 'intent' || isOpen
        isFound ||= isStated && table === term.table && term.values.includes(value)
      })
      return isFound
    }),
  )
}
