import { answerBudget } from '../budgets/answer-budget.ts'
import type { BodyBudget } from '../budgets/body-budget.ts'
import { startWorker } from '../concurrency/start-worker.ts'
import type { Clock } from '../lib/clock.ts'
import { BodyThread } from '../transports/http/body-thread.ts'
import { heapBytesFor } from '../transports/http/thread-lane.ts'

/** A thread is started with the first message that needs it, and not before. */
export function composeBodies(
  hashKey: Uint8Array,
  bodyBytesMax: number,
  clock: Pick<Clock, 'monotonic'>,
): BodyThread {
  const heapBytes = heapBytesFor(bodyBytesMax)
  return new BodyThread({
    heapBytes,
    now: () => clock.monotonic(),
    start: () =>
      startWorker(new URL('./body-worker.ts', import.meta.url), 'bodies', hashKey, {
        maxOldGenerationSizeMb: heapBytes / (1024 * 1024),
      }),
  })
}

/** The budget of the gateway for everything that receivers send. */
export function composeAnswers(
  limits: { readonly responseMemoryBytes: number; readonly bodyBytes: number },
  clock: Clock,
): BodyBudget {
  return answerBudget({
    name: 'limits.responseMemoryBytes',
    totalBytesMax: limits.responseMemoryBytes,
    receiverPart: 1 / 4,
    callerPart: 1 / 2,
    bodyBytesMax: limits.bodyBytes,
    clock,
  })
}
