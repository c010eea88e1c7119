import type { Config } from '../config/config.ts'
import type { Clock } from '../lib/clock.ts'

/** The finding of `doctor` about one thing. */
export interface Finding {
  readonly name: string
  readonly state: 'ok' | 'warn' | 'fail'
  readonly says: string
  /** The next step; empty when all is well. */
  readonly next: string
}

export type Verdict = Omit<Finding, 'name'>

export const ok = (says: string): Verdict => ({ state: 'ok', says, next: '' })
export const warn = (says: string, next: string): Verdict => ({ state: 'warn', says, next })
export const fail = (says: string, next: string): Verdict => ({ state: 'fail', says, next })

export interface Patient {
  readonly config: Config
  readonly clock: Clock
}
