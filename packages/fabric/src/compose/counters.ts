import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { lockFile, type Unlock } from '../adapters/file/file-lock.ts'
import { memoryUsedValues, usedValuesMax } from '../adapters/memory/used-values.ts'
import { openValueFiles } from '../adapters/memory/value-files.ts'
import { memoryRateLimits } from '../adapters/rate-limiter/rate-limits.ts'
import { redisRateLimits } from '../adapters/redis/rate-limits.ts'
import type { RedisTarget } from '../adapters/redis/session.ts'
import { redisUsedValues } from '../adapters/redis/used-values.ts'
import { WatchedServer } from '../adapters/redis/watched-server.ts'
import type { Closer } from '../concurrency/closing.ts'
import type { CountersEngine } from '../config/counters-engine.ts'
import { createReplayGuard, type ReplayGuard } from '../identity/replay-guard.ts'
import { readBootId } from '../lib/boot-id.ts'
import type { Clock } from '../lib/clock.ts'
import { makeFolder } from '../lib/named-path.ts'
import type { RateLimits } from '../pipeline/quota.ts'
import { readCa, readPassword } from './engine-files.ts'
import type { Environment } from './stores.ts'

/** Below the data folder of a fabric, and below the folder of an agent's identity. */
export const USED_VALUES_FOLDER = 'used-values'

/** Counters and single-use values, by the engine that the configuration chooses. */
export interface Counters {
  readonly guard: ReplayGuard
  rateLimits(requestsPerMinute: number): RateLimits
  /** Why nothing can be claimed or counted now; null while it can. */
  fault(): string | null
}

/**
 * Rejects if the engine cannot be used: such a fabric would refuse every request. Opened before the
 * state: without one, there were no agents that could have signed anything. A state that others
 * share may be older than this data folder.
 */
export async function openCounters(environment: Environment, closers: Closer[]): Promise<Counters> {
  const { config, clock, random, log } = environment
  const isKept = ['state.db', 'ledger'].some((name) => existsSync(join(config.dataDir, name)))
  const isFirst = config.engines.state.engine === 'sqlite' && !isKept
  const { counters } = config.engines
  if (counters.engine === 'memory') {
    const dir = join(config.dataDir, USED_VALUES_FOLDER)
    const { guard, close } = openEmbeddedGuard({ dir, isFirst, clock, log })
    closers.push({ name: 'counters', close })
    return { guard, rateLimits: memoryRateLimits, fault: () => null }
  }
  const { prefix } = counters
  const target = targetOf(counters)
  const server = await WatchedServer.open({ target, prefix, clock, random, isFirst, log })
  closers.push({ name: 'counters', close: () => server.close() })
  return {
    guard: createReplayGuard(redisUsedValues(server), clock),
    rateLimits: (requestsPerMinute) => redisRateLimits(server, requestsPerMinute),
    fault: () => server.fault(),
  }
}

function targetOf(counters: Extract<CountersEngine, { readonly engine: 'redis' }>): RedisTarget {
  const { host, port, database, user, tls, ca, password } = counters
  return {
    ...{ host, port, database, user },
    async password() {
      const read = await readPassword(password)
      return read === '' ? null : read
    },
    tls: tls ? { ca: readCa(ca) } : null,
  }
}

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
