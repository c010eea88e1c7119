import { mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { freemem, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    /**
     * The folder where worlds keep their data. Removed at the end: a worker may be ended before it
     * tidies up.
     */
    worldsDir: string
  }
}

const memory = '/dev/shm'
const spareBytes = 2 * 1024 ** 3

/**
 * In memory where there is enough: every request waits for the disk four times, and the crash
 * tests, not these, cover what a power failure leaves of a store.
 */
function placeOfWorlds(): string {
  try {
    const { bavail, bsize } = statfsSync(memory)
    return Math.min(bavail * bsize, freemem()) >= spareBytes ? memory : tmpdir()
  } catch {
    return tmpdir()
  }
}

export function setup(project: TestProject): () => void {
  const dir = mkdtempSync(join(placeOfWorlds(), 'countersign-worlds-'))
  project.provide('worldsDir', dir)
  // Every process of the tests runs the same sources: the first one compiles them for all.
  process.env['NODE_COMPILE_CACHE'] ??= join(dir, 'compiled')
  // A worker that is about to end still writes what it compiled: removed again until it stays away.
  return () => rmSync(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
}
