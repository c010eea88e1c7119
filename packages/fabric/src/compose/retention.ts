import type { Config } from '../config/config.ts'
import { dayMs, type RetentionPolicy } from '../ledger/retention-policy.ts'

/** The policy by which the log of this process is pruned; null where every entry is kept. */
export function retentionOf({ ledger }: Pick<Config, 'ledger'>): RetentionPolicy | null {
  const { retention } = ledger
  if (retention === undefined) return null
  const holds = Object.entries(retention.holds).map(([name, { from, until, reason }]) => ({
    ...{ name, reason, from: Date.parse(from) },
    until: until === undefined ? Number.MAX_SAFE_INTEGER : lastOf(until),
  }))
  return { keepDays: retention.keepDays, holds }
}

/** A date is held to its end. */
function lastOf(text: string): number {
  const isDate = !text.includes('T')
  return Date.parse(text) + (isDate ? dayMs - 1 : 0)
}
