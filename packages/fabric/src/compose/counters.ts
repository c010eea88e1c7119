import { join } from 'node:path'
import { lockFile, type Unlock } from '../adapters/file/file-lock.ts'
import { memoryUsedValues, usedValuesMax } from '../adapters/memory/used-values.ts'
import { openValueFiles } from '../adapters/memory/value-files.ts'
import { createReplayGuard, type ReplayGuard } from '../identity/replay-guard.ts'
import { readBootId } from '../lib/boot-id.ts'
import type { Clock } from '../lib/clock.ts'
import { makeFolder } from '../lib/named-path.ts'

/** Below the data folder of a fabric, and below the folder of an agent's identity. */
export const USED_VALUES_FOLDER = 'used-values'

export interface EmbeddedGuardOptions {
  /** The folder that keeps used values over a restart; null if there is none. */
  readonly dir: string | null
  /** True when no value can have been used before. */
  readonly isFirst: boolean
  readonly clock: Clock
  log(event: string, facts?: Readonly<Record<string, string | number>>): void
}

export interface OpenGuard {
  readonly guard: ReplayGuard
  close(): void
}

/**
 * Opens a replay guard in the memory of this process. With a folder, a restart loses nothing; a
 * process that finds the folder in use remembers by itself alone, and counts its start as a loss.
 */
export function openEmbeddedGuard(options: EmbeddedGuardOptions): OpenGuard {
  const { dir, clock, isFirst, log } = options
  const onLoss = (reason: string) => log('used values may be lost', { reason })
  const unlock = dir === null ? null : lockFolder(dir, onLoss)
  if (dir === null || unlock === null) {
    const lostAt = isFirst && dir === null ? { lostAt: Number.NEGATIVE_INFINITY } : {}
    const values = memoryUsedValues({ clock, ...lostAt })
    return { guard: createReplayGuard(values, clock), close: () => undefined }
  }
  const files = openValueFiles({
    ...{ dir, clock, isFirst, onLoss, bootId: readBootId(), valuesMax: usedValuesMax },
    onFault: (cause) => log('used values cannot be kept', { error: String(cause) }),
  })
  return {
    guard: createReplayGuard(memoryUsedValues({ clock, files }), clock),
    close() {
      files.close()
      unlock()
    },
  }
}

function lockFolder(dir: string, onLoss: (reason: string) => void): Unlock | null {
  makeFolder(dir)
  try {
    return lockFile(join(dir, 'lock'), 'the record of used values')
  } catch (cause) {
    onLoss(String(cause))
    return null
  }
}
