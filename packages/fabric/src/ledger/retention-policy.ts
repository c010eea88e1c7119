import { hash } from 'node:crypto'

/** Entries of a time that are kept whatever their age. Unix milliseconds, both included. */
export interface RetentionHold {
  readonly name: string
  readonly from: number
  readonly until: number
  readonly reason: string
}

/** The time for which a log keeps its entries. */
export interface RetentionPolicy {
  /** Whole days, 1 or more. */
  readonly keepDays: number
  readonly holds: readonly RetentionHold[]
}

export const dayMs = 24 * 3_600_000

/** SHA-256 over the policy as JSON, its holds by name. */
export function policyDigest({ keepDays, holds }: RetentionPolicy): Uint8Array {
  const sorted = holds.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const ordered = sorted.map(({ name, from, until, reason }) => ({ name, from, until, reason }))
  return hash('sha256', JSON.stringify({ v: 1, keepDays, holds: ordered }), 'buffer')
}

/** The hold that covers any of the times from `first` to `last`; null without one. */
export function holdOf(policy: RetentionPolicy, first: number, last: number): RetentionHold | null {
  return policy.holds.find(({ from, until }) => from <= last && until >= first) ?? null
}
