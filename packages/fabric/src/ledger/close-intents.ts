import type { Clock } from '../lib/clock.ts'
import { forEachBounded } from './bounded.ts'
import type { EntryDraft } from './ledger.ts'
import type { OpenIntentTable } from './open-intents.ts'

/** The reason why the ledger itself closes an exchange. */
export type CloseReason = 'restart' | 'too-old'

const details = {
  restart: 'the fabric stopped before the outcome',
  'too-old': 'the exchange was open for too long',
} as const satisfies Record<CloseReason, string>

export interface ClosingParts {
  readonly clock: Clock
  /** Entries that wait for their commit at once. */
  readonly atOnce: number
  isOpen(exchange: string): boolean
  append(draft: EntryDraft): Promise<unknown>
  log(event: string, facts: Readonly<Record<string, string | number>>): void
}

/** Between two lines of the log about long work. */
const progressEveryMs = 2_000

/**
 * Records that the outcome of `exchanges` is unknown. Each is durable by itself: a start that is
 * killed half way leaves the rest to the next one.
 */
export async function closeIntents(
  exchanges: readonly string[],
  reason: CloseReason,
  parts: ClosingParts,
): Promise<void> {
  const { clock, log } = parts
  const ending = { result: 'unknown', code: 'OUTCOME_UNKNOWN' } as const
  const facts = { ...ending, reason, 'private.detail': details[reason] }
  const total = exchanges.length
  let closed = 0
  let loggedAt = clock.monotonic()
  await forEachBounded(exchanges, Math.min(parts.atOnce, total), async (exchange) => {
    if (!parts.isOpen(exchange)) return
    await parts.append({ kind: 'indeterminate', exchange, at: clock.now(), facts })
    closed += 1
    if (clock.monotonic() - loggedAt < progressEveryMs) return
    loggedAt = clock.monotonic()
    log('closing exchanges of unknown outcome', { closed, total })
  })
  if (closed > 0) log(`closed exchanges of unknown outcome: ${details[reason]}`, { closed })
}

/** Closes those that are open for too long. A failure is left to the next round. */
export async function closeTooOld(
  intents: Pick<OpenIntentTable, 'tooOld'>,
  parts: ClosingParts,
): Promise<void> {
  try {
    await closeIntents([...intents.tooOld(parts.clock.monotonic())], 'too-old', parts)
  } catch (cause) {
    const error = String(cause)
    parts.log('exchanges that are open for too long could not be closed', { error })
  }
}

/** Looks for exchanges that are open for too long. */
export class IntentExpiry {
  readonly #clock: Clock
  readonly #close: () => Promise<void>
  readonly #everyMs: number
  #lookedAt: number
  #isLooking = false
  #timer: ReturnType<typeof setTimeout> | null = null
  #running: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(openIntentMs: number, clock: Clock, close: () => Promise<void>) {
    this.#clock = clock
    this.#lookedAt = clock.monotonic()
    this.#everyMs = Math.min(Math.max(Math.floor(openIntentMs / 8), 10), 30_000)
    this.#close = close
  }

  /** Looks on its own from now on, also while nothing is appended. */
  start(): void {
    if (this.#stopped) return
    this.#timer = setTimeout(() => {
      this.poke(this.#clock.monotonic())
      this.start()
    }, this.#everyMs).unref()
  }

  /** Looks now if the last look is old. */
  poke(now: number): void {
    if (this.#isLooking || this.#stopped || now - this.#lookedAt < this.#everyMs) return
    this.#lookedAt = now
    this.#isLooking = true
    this.#running = this.#close().finally(() => {
      this.#isLooking = false
    })
  }

  /** Waits for the round that is under way; none follows. */
  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#running
  }
}
