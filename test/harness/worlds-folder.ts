import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    /** Where worlds keep their data. Removed at the end: a worker may be ended before it tidies up. */
    worldsDir: string
  }
}

export function setup(project: TestProject): () => void {
  const dir = mkdtempSync(join(tmpdir(), 'countersign-worlds-'))
  project.provide('worldsDir', dir)
  return () => rmSync(dir, { recursive: true, force: true })
}
