import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { LockHeld, lockFile, shareLock, type Unlock } from '../adapters/file/file-lock.ts'
import { memoryUsedValues, usedValuesMax } from '../adapters/memory/used-values.ts'
import { openValueFiles, valueFileName } from '../adapters/memory/value-files.ts'
import { memoryRateLimits } from '../adapters/rate-limiter/rate-limits.ts'
import { AgreedCounters, type CounterPeers } from '../adapters/redis/agreed-counters.ts'
import { redisRateLimits } from '../adapters/redis/rate-limits.ts'
import type { RedisTarget } from '../adapters/redis/session.ts'
import { redisUsedValues } from '../adapters/redis/used-values.ts'
import { WatchedServer } from '../adapters/redis/watched-server.ts'
import { openSharedValues, sharedValuesName } from '../adapters/sqlite/used-values.ts'
import type { Closer } from '../concurrency/closing.ts'
import { type Config, isReplica } from '../config/config.ts'
import type { CountersEngine } from '../config/counters-engine.ts'
import { createReplayGuard, type ReplayGuard } from '../identity/replay-guard.ts'
import { readBootId } from '../lib/boot-id.ts'
import type { Clock } from '../lib/clock.ts'
import { makeFolder } from '../lib/named-path.ts'
import type { RateLimits } from '../pipeline/quota.ts'
import type { StateStream } from '../state/state-stream.ts'
import { readCa, readPassword } from './engine-files.ts'
import type { Environment } from './stores.ts'

/** Below the data folder of a fabric, and below the folder of an agent's identity. */
export const USED_VALUES_FOLDER = 'used-values'

/** Counters and single-use values, by the engine that the configuration chooses. */
export interface Counters {
  /** As `countersName` returns it. */
  readonly name: string
  /** Identifies the server and what it holds, where several could be meant; empty otherwise. */
  marker(): string
  /**
   * Rejects while a process that runs uses another server than this one. Called once, before any
   * value is claimed.
   */
  join(peers: CounterPeers): Promise<void>
  readonly guard: ReplayGuard
  rateLimits(requestsPerMinute: number): RateLimits
  /** Why nothing can be claimed or counted now; null while it can. */
  fault(): string | null
}

/** The name of counters that no other process can know. */
export const OWN_COUNTERS = 'of its own'

/** Returns the name of the counters: processes with one name share what they accept. */
export function countersName({ engines: { state, counters } }: Pick<Config, 'engines'>): string {
  if (counters.engine === 'redis') return `Redis with the prefix ${counters.prefix}`
  // On one data folder, a lock keeps lone processes and replicas apart.
  return state.engine === 'sqlite' ? 'of the data folder' : OWN_COUNTERS
}

/** True when no log was ever made in this data folder. Asked before one is. */
export function isUnusedFolder({ dataDir }: Pick<Config, 'dataDir'>): boolean {
  return ['state.db', 'ledger'].every((name) => !existsSync(join(dataDir, name)))
}

/** The parts that are open before the counters. */
interface CounterBasis {
  readonly state: StateStream
  /** True when no value can have been used before, by any process of the fabric. */
  readonly isFirst: boolean
}

/**
 * Rejects if the engine cannot be used: such a fabric would refuse every request. Rejects as well
 * where other processes take requests of this fabric and do not know its used values: each of them
 * would accept a signed request once.
 */
export async function openCounters(
  environment: Environment,
  { state, isFirst }: CounterBasis,
  closers: Closer[],
): Promise<Counters> {
  const { config, clock, random, log } = environment
  const { counters } = config.engines
  const name = countersName(config)
  if (counters.engine === 'memory') {
    assertNotShared(config)
    const { close, ...opened } = isReplica(config)
      ? await openSharedCounters(environment, isFirst)
      : openOwnCounters(environment, isFirst)
    closers.push({ name: 'counters', close })
    const alone = { marker: () => '', join: async () => undefined }
    return { name, ...alone, ...opened }
  }
  const { prefix } = counters
  const target = targetOf(counters)
  const server = await WatchedServer.open({ target, prefix, clock, random, isFirst, log })
  const agreed = new AgreedCounters({ state, server, clock, isFirst, log })
  const close = (): void => {
    agreed.close()
    server.close()
  }
  closers.push({ name: 'counters', close })
  return {
    name,
    marker: () => server.marker() ?? '',
    join: (peers) => agreed.join(peers),
    guard: createReplayGuard(redisUsedValues(server, agreed), clock),
    rateLimits: (requestsPerMinute) => redisRateLimits(server, requestsPerMinute),
    fault: () => server.fault() ?? agreed.fault(),
  }
}

/** Rejects where processes on several hosts would not know the used values of one another. */
function assertNotShared(config: Config): void {
  if (config.engines.state.engine === 'sqlite' || !isReplica(config)) return
  const cause = config.replica ? 'replica' : 'ledger.slot'
  throw new Error(
    `with ${cause}, other processes share the state, and each would accept a signed request once: set engines.counters to a Redis that all of them use`,
  )
}

type OpenCounters = Omit<Counters, 'name' | 'marker' | 'join'> & { close(): void }

function openOwnCounters({ config, clock, log }: Environment, isFirst: boolean): OpenCounters {
  const dir = join(config.dataDir, USED_VALUES_FOLDER)
  const { guard, close } = openEmbeddedGuard({ dir, isFirst, isAlone: true, clock, log })
  return { guard, rateLimits: memoryRateLimits, fault: () => null, close }
}

/** Used values of all replicas on this data folder. Each counts the requests that it receives. */
async function openSharedCounters(
  { config, clock, log }: Environment,
  isFirst: boolean,
): Promise<OpenCounters> {
  const dir = join(config.dataDir, USED_VALUES_FOLDER)
  const unlock = lockFolder(dir, (path) => shareLock(path, 'the record of used values'))
  try {
    removeFiles(dir, valueFileName)
    const values = await openSharedValues({
      ...{ dir, isFirst, clock, bootId: readBootId(), valuesMax: usedValuesMax },
      onLoss: (reason) => log('used values may be lost', { reason }),
    })
    const close = (): void => {
      values.close()
      unlock()
    }
    const guard = createReplayGuard(values, clock)
    return { guard, rateLimits: memoryRateLimits, fault: () => values.fault(), close }
  } catch (cause) {
    unlock()
    throw cause
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
  /** Throws when another process uses the folder. */
  readonly isAlone?: boolean
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
  const unlock = dir === null ? null : lockAlone(options, dir, onLoss)
  if (dir === null || unlock === null) {
    const lostAt = isFirst && dir === null ? { lostAt: Number.NEGATIVE_INFINITY } : {}
    const values = memoryUsedValues({ clock, ...lostAt })
    return { guard: createReplayGuard(values, clock), close: () => undefined }
  }
  // Those of replicas do not know what is used from now on.
  removeFiles(dir, sharedValuesName)
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

function lockAlone(
  { isAlone = false }: EmbeddedGuardOptions,
  dir: string,
  onLoss: (reason: string) => void,
): Unlock | null {
  try {
    return lockFolder(dir, (path) => lockFile(path, 'the record of used values'))
  } catch (cause) {
    if (isAlone) throw cause
    onLoss(String(cause))
    return null
  }
}

/** Processes of one data folder are all replicas, or there is one. */
function lockFolder(dir: string, lock: (path: string) => Unlock): Unlock {
  makeFolder(dir)
  try {
    return lock(join(dir, 'lock'))
  } catch (cause) {
    if (!(cause instanceof LockHeld)) throw cause
    const next = 'to run several on one data folder, start each of them with `--replica`'
    throw new LockHeld(`${cause.message}; ${next}`)
  }
}

function removeFiles(dir: string, name: RegExp): void {
  for (const each of readdirSync(dir)) if (name.test(each)) rmSync(join(dir, each))
}
