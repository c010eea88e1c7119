import { type EntryView, endingOf, isPrincipalKey, parseSpiffeId } from '@countersign/protocol'
import type { FactValue } from '../ledger/ledger.ts'
import type { OpenedEntry } from '../ledger/ledger-reads.ts'

/**
 * An entry as JSON: byte strings become hex. Next to the facts stand what views would otherwise
 * derive each in its own manner: short names of the caller, of the principal that an entry without
 * a caller is about, and of the agent whose connector recorded it; the object and reason of
 * administration; and how the exchange ended.
 */
export function entryView({ erased, ...entry }: OpenedEntry): EntryView {
  if (erased !== undefined) return { ...entry, ...nothing, facts: { erased: true } }
  const facts = Object.fromEntries(
    Object.entries(entry.facts).map(([fact, value]) => [fact, factView(value)]),
  )
  const caller = nameOf(entry.facts['caller'])
  return {
    ...entry,
    facts,
    caller,
    principal: caller ?? nameOf(entry.facts['agent']),
    producer: nameOf(entry.facts['producer']),
    ...aboutOf(entry),
    ended: endedOf(entry),
  }
}

const nothing = {
  ...{ caller: null, principal: null, producer: null, object: null, reason: null },
  ...{ changedBy: null, ended: null },
} as const

/**
 * Returns the object of an administrative or lifecycle entry, the reason for it, and its author.
 */
function aboutOf({ kind, facts }: OpenedEntry) {
  // A connector records calls alone: nothing that it states is shown as administration.
  if (facts['producer'] !== undefined) return { object: null, reason: null, changedBy: null }
  return {
    object: textOf(facts['object']),
    reason: kind === 'indeterminate' ? null : textOf(facts['reason']),
    changedBy: textOf(facts['changed-by']),
  }
}

/** The reason is the ledger's own, where it closed an exchange by itself. */
function endedOf({ kind, facts }: OpenedEntry) {
  const ending = endingOf(kind, facts)
  const reason = kind === 'indeterminate' ? textOf(facts['reason']) : null
  return ending === null ? null : { ...ending, reason }
}

function nameOf(id: FactValue | undefined): string | null {
  if (typeof id !== 'string') return null
  // Entries of one fabric: only principals of other issuers need their canonical form.
  return parseSpiffeId(id)?.name ?? (isPrincipalKey(id) ? id : null)
}

function textOf(value: FactValue | undefined): string | null {
  return typeof value === 'string' ? value : null
}

function factView(value: FactValue): string | number | boolean {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value
}
