import type { Clock } from '../lib/clock.ts'
import type { EntryDraft } from './ledger.ts'
import type { StoredHead } from './store.ts'

/** The clock is far behind the newest entry, and the operator has not accepted that. */
export class ClockBehind extends Error {
  override readonly name = 'ClockBehind'
  readonly now: number
  /** Unix milliseconds of the newest head. */
  readonly headAt: number

  constructor(now: number, headAt: number) {
    const time = (at: number) => new Date(at).toISOString()
    super(
      `the clock is behind the ledger: it reads ${time(now)}, and the newest entry is of ` +
        `${time(headAt)}. Set the clock; if it is right now and was ahead then, start once with ` +
        `\`countersign up --accept-clock ${time(headAt)}\``,
    )
    this.now = now
    this.headAt = headAt
  }
}

/** A jump of the wall clock that is to be on record. Unix milliseconds. */
export interface ClockStep {
  readonly before: number
  readonly after: number
}

export interface ClockRules {
  readonly clock: Clock
  readonly clockBehindMaxMs: number
  /** The time of the newest head, named by the operator, from which the clock may go back. */
  readonly acceptClock: number | null
}

/**
 * The step that the operator accepts, or null when the clock is not behind `head`. Throws
 * ClockBehind otherwise: a clock that is set back makes expired credentials and used signatures
 * good again. The accepted value names the head, so an option that stays in a service file accepts
 * nothing later.
 */
export function checkClock(head: StoredHead, rules: ClockRules): ClockStep | null {
  const now = rules.clock.now()
  if (now >= head.at - rules.clockBehindMaxMs) return null
  if (rules.acceptClock !== head.at) throw new ClockBehind(now, head.at)
  return { before: head.at, after: now }
}

export function stepEntry(
  event: 'clock-stepped' | 'clock-accepted',
  { before, after }: ClockStep,
  exchange: string,
): EntryDraft {
  const facts = { event, 'clock.before': before, 'clock.after': after }
  return { kind: 'lifecycle', exchange, at: after, facts }
}

interface StepParts {
  /** For the exchange of its entry. */
  readonly newId: () => string
  readonly log: (event: string, facts: Readonly<Record<string, string | number>>) => void
}

/**
 * The monotonic clock has confirmed a jump forwards when the wall clock stayed there for so long.
 */
const confirmedAfterMs = 3_600_000

/**
 * Compares the wall clock with the monotonic one while the process runs. A jump is reported once.
 * The head follows a jump forwards only after an hour: a clock that is wrong for a moment must not
 * keep the next start from working.
 */
export class ClockWatch {
  readonly #clock: Clock
  readonly #toleranceMs: number
  #base: { readonly wall: number; readonly monotonic: number }
  /** Set while the wall clock is ahead of what the monotonic one leads to. */
  #ahead: { readonly wall: number; readonly monotonic: number } | null = null

  constructor(clock: Clock, toleranceMs: number) {
    this.#clock = clock
    this.#toleranceMs = toleranceMs
    this.#base = { wall: clock.now(), monotonic: clock.monotonic() }
  }

  /** The jump since the last look, or null. */
  look(): ClockStep | null {
    const wall = this.#clock.now()
    const monotonic = this.#clock.monotonic()
    const expected = this.#expected(this.#ahead ?? this.#base, monotonic)
    if (Math.abs(wall - expected) <= this.#toleranceMs) {
      const isConfirmed = monotonic - (this.#ahead?.monotonic ?? monotonic) > confirmedAfterMs
      if (this.#ahead === null || isConfirmed) {
        // Follows the small corrections that every synchronized clock makes.
        this.#base = { wall, monotonic }
        this.#ahead = null
      }
      return null
    }
    const isBack = Math.abs(wall - this.#expected(this.#base, monotonic)) <= this.#toleranceMs
    if (isBack || wall < expected) {
      this.#base = { wall, monotonic }
      this.#ahead = null
    } else {
      this.#ahead = { wall, monotonic }
    }
    return { before: Math.round(expected), after: wall }
  }

  /** A jump is on record before the first entry that is of the new time. */
  record({ newId, log }: StepParts, append: (draft: EntryDraft) => Promise<unknown>): void {
    const step = this.look()
    if (step === null) return
    const { before, after } = step
    log('the clock of this machine was set', { before, after })
    append(stepEntry('clock-stepped', step, newId())).catch((cause: unknown) => {
      log('a jump of the clock is not on record', { error: String(cause) })
    })
  }

  /** The time for the next head: that of the wall clock, unless it has just jumped ahead. */
  headTime(): number {
    const wall = this.#clock.now()
    const expected = this.#expected(this.#base, this.#clock.monotonic())
    return wall > expected + this.#toleranceMs ? Math.round(expected) : wall
  }

  #expected(base: { readonly wall: number; readonly monotonic: number }, monotonic: number) {
    return base.wall + (monotonic - base.monotonic)
  }
}
