import type { Finding } from '../redaction/redactor.ts'
import type { Transport } from './unchecked-request.ts'

/** `card:1 email:2`: what was masked, by class; the values are nowhere. */
export function maskedSummary(findings: readonly Finding[]): string {
  return summary(findings.filter(({ operator }) => operator !== 'none'))
}

/**
 * The values that were found, by class, where policy let some of them pass: facts of the
 * operator's side, which detection counts. None where all of them were masked, and none of a
 * connector, which states what it masked alone.
 */
export function foundFacts(
  transport: Transport,
  found: Partial<Record<'private.found' | 'private.response-found', readonly Finding[]>>,
): Readonly<Record<string, string>> {
  if (transport === 'mesh') return {}
  const passed = Object.entries(found).filter(([, findings]) =>
    findings.some(({ operator }) => operator === 'none'),
  )
  return Object.fromEntries(passed.map(([name, findings]) => [name, summary(findings)]))
}

function summary(findings: readonly Finding[]): string {
  const counts = new Map<string, number>()
  for (const { dataClass } of findings) counts.set(dataClass, (counts.get(dataClass) ?? 0) + 1)
  return [...counts].map(([name, count]) => `${name}:${count}`).join(' ')
}
