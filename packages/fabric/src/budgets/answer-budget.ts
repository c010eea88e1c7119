import type { Clock } from '../lib/clock.ts'
import { BodyBudget } from './body-budget.ts'

/** A receiver that occupies no more than this is never evicted for the sake of others. */
const floorBytes = 64 * 1024
/** For an answer, or an event, of which more than `floorBytes` is held and the rest is awaited. */
const rate = { name: 'upstream.stallMs', stallMs: 30_000, bytesPerSecondMin: 4 * 1024 } as const

export interface AnswerBudgetOptions {
  readonly name: 'limits.responseMemoryBytes' | 'mesh.responseMemoryBytes'
  readonly totalBytesMax: number
  /** The parts of the total for one receiver and for one caller. */
  readonly receiverPart: number
  readonly callerPart: number
  readonly bodyBytesMax: number
  readonly clock: Clock
}

/**
 * The one account of every byte that is held from a receiver: the head and the body of its answer,
 * what waits for its reader, an event that is not whole, an event that is being inspected or
 * written.
 */
export function answerBudget(options: AnswerBudgetOptions): BodyBudget {
  const { name, receiverPart, callerPart, bodyBytesMax, clock } = options
  const totalBytesMax = Math.max(options.totalBytesMax, 4 * bodyBytesMax)
  return new BodyBudget({
    kind: 'answers',
    name,
    totalBytesMax,
    identityBytesMax: totalBytesMax * receiverPart,
    addressBytesMax: totalBytesMax * callerPart,
    floorBytes,
    // The deadline of an answer is that of its exchange.
    timeoutMs: Number.POSITIVE_INFINITY,
    rate,
    now: () => clock.monotonic(),
  })
}
