import { startWorker } from './lib/start-worker.ts'
import { BodyThread, heapBytesMax } from './transports/http/body-thread.ts'

/** The thread is started with the first large body, and not before. */
export function composeBodies(hashKey: Uint8Array): BodyThread {
  return new BodyThread(() =>
    startWorker(new URL('./compose-body-worker.ts', import.meta.url), 'bodies', hashKey, {
      maxOldGenerationSizeMb: heapBytesMax / (1024 * 1024),
    }),
  )
}
