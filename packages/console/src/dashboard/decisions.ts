/** An agent as `agent.list` shows it. */
export interface AgentView {
  readonly name: string
  readonly kind: string
  readonly roles: readonly string[]
  readonly segment: string
  readonly status: 'active' | 'quarantined' | 'revoked'
  readonly statusReason: string
  readonly risk: number
}

/** An entry as `ledger.recent` and `decisions.watch` show it. */
export interface EntryView {
  readonly kind: string
  readonly exchange: string
  readonly at: number
  readonly caller: string | null
  readonly facts: Readonly<Record<string, string | number | boolean>>
}

/** One line of the table: an exchange, from whatever entries of it were seen so far. */
export interface Decision {
  readonly exchange: string
  readonly at: number
  readonly caller: string
  readonly receiver: string
  readonly operation: string
  readonly transport: string
  readonly masked: string
  readonly outcome: string
  readonly tone: 'good' | 'bad' | 'warn'
}

const blank = { caller: '', receiver: '', operation: '', transport: '', masked: '' }

/** The decisions with one more entry in them, newest first. */
export function mergeDecision(
  decisions: readonly Decision[],
  entry: EntryView,
): readonly Decision[] {
  const known = decisions.find(({ exchange }) => exchange === entry.exchange)
  const { facts } = entry
  const fact = (name: string, otherwise: string) => String(facts[name] ?? otherwise)
  const before = known ?? { ...blank, exchange: entry.exchange, at: entry.at }
  const tool = fact('tool', '')
  const operation = fact('operation', fact('event', ''))
  const about = [tool, fact('object', ''), fact('reason', '')].filter(Boolean)
  const next: Decision = {
    exchange: entry.exchange,
    at: before.at,
    caller: entry.caller ?? fact('agent', before.caller),
    receiver: fact('receiver', before.receiver),
    operation: operationAfter(before.operation, operation, about),
    transport: fact('transport', before.transport),
    masked: fact('masked', before.masked),
    ...outcomeOf(entry),
  }
  const others = decisions.filter(({ exchange }) => exchange !== entry.exchange)
  return [next, ...others].toSorted((a, b) => b.at - a.at)
}

/** An administrative outcome names its object; the intent before it named the operation. */
function operationAfter(before: string, operation: string, about: readonly string[]): string {
  const first = operation === '' ? before : operation
  return [first, ...about].filter(Boolean).join(' ')
}

function outcomeOf({ kind, facts }: EntryView): Pick<Decision, 'outcome' | 'tone'> {
  const code = facts['code']
  if (kind === 'refusal') return { outcome: String(code), tone: 'bad' }
  if (kind === 'intent') return { outcome: 'under way', tone: 'warn' }
  if (kind === 'indeterminate') return { outcome: 'indeterminate', tone: 'warn' }
  if (kind === 'lifecycle') return { outcome: String(facts['event'] ?? kind), tone: 'good' }
  const result = String(facts['result'] ?? kind)
  if (code !== undefined) return { outcome: `${result}: ${String(code)}`, tone: 'bad' }
  const tone = ['delivered', 'completed'].includes(result) ? 'good' : 'warn'
  const countersigned = facts['attested.response'] === 'callee'
  return { outcome: countersigned ? `${result}, countersigned` : result, tone }
}
