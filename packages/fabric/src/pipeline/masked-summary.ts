import type { Finding } from '../redaction/redactor.ts'

/** `card:1 email:2`: what was masked, by class; the values are nowhere. */
export function maskedSummary(findings: readonly Finding[]): string {
  const counts = new Map<string, number>()
  for (const { dataClass, operator } of findings) {
    if (operator !== 'none') counts.set(dataClass, (counts.get(dataClass) ?? 0) + 1)
  }
  return [...counts].map(([name, count]) => `${name}:${count}`).join(' ')
}
