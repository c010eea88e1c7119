import type { Clock } from './lib/clock.ts'
import { startWorker } from './lib/start-worker.ts'
import { BodyThread } from './transports/http/body-thread.ts'
import { heapBytesMax } from './transports/http/thread-lane.ts'

/** A thread is started with the first message that needs it, and not before. */
export function composeBodies(hashKey: Uint8Array, clock: Pick<Clock, 'monotonic'>): BodyThread {
  return new BodyThread({
    now: () => clock.monotonic(),
    start: () =>
      startWorker(new URL('./compose-body-worker.ts', import.meta.url), 'bodies', hashKey, {
        maxOldGenerationSizeMb: heapBytesMax / (1024 * 1024),
      }),
  })
}
