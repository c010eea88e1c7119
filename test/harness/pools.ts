import { Pool } from 'undici'
import { vi } from 'vitest'

/**
 * Runs `scene`, which may ask how many calls wait for a connection in the pools of this process.
 * Only pools that are used meanwhile count.
 */
export async function watchingPools<T>(scene: (waiting: () => number) => Promise<T>): Promise<T> {
  const dispatch = vi.spyOn(Pool.prototype, 'dispatch')
  const waiting = (): number => {
    let queued = 0
    for (const pool of new Set<unknown>(dispatch.mock.contexts)) {
      if (pool instanceof Pool) queued += pool.stats.queued
    }
    return queued
  }
  try {
    return await scene(waiting)
  } finally {
    dispatch.mockRestore()
  }
}
