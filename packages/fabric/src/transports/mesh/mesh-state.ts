import type { MeshState } from '@countersign/protocol'

export interface MeshStateSource {
  read(): Omit<MeshState, 'sequence'>
  /** Called whenever anything that connectors decide by has changed. */
  onChange(listener: () => void): () => void
}

/** Hands connectors the state they decide by, and the next one the moment it exists. */
export interface MeshStateFeed {
  /** The state, once its sequence exceeds `after`; after `waitMs` at the latest, as it is. */
  wait(after: number, waitMs: number, signal: AbortSignal): Promise<MeshState>
  /** Ends every wait, present and future, with the state as it is. */
  close(): void
}

/** `sequence` starts at the wall clock, so that a restarted fabric is always newer than before. */
export function createMeshStateFeed(source: MeshStateSource, startedAt: number): MeshStateFeed {
  let sequence = startedAt
  let snapshot: MeshState | null = null
  let isClosed = false
  // Those who wait, not a promise of the next change: that would keep a record of every wait until then.
  const waiting = new Set<() => void>()
  const stop = source.onChange(() => {
    sequence += 1
    snapshot = null
    for (const end of waiting) end()
  })
  const read = (): MeshState => {
    snapshot ??= { sequence, ...source.read() }
    return snapshot
  }
  return {
    async wait(after, waitMs, signal) {
      if (sequence > after || isClosed) return read()
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, waitMs)
      signal.addEventListener('abort', () => resolve(), { once: true })
      waiting.add(resolve)
      await promise
      waiting.delete(resolve)
      clearTimeout(timer)
      return read()
    },
    close() {
      isClosed = true
      stop()
      for (const end of waiting) end()
    },
  }
}
