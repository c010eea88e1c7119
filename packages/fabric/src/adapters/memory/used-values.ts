import { hash } from 'node:crypto'
import type { UsedValues } from '../../identity/replay-guard.ts'
import type { Clock } from '../../lib/clock.ts'
import { type RecordedValue, type ValueFiles } from './value-files.ts'

/** About 100 MB when full; at a window of 81 seconds, 6,000 signed messages a second. */
export const usedValuesMax = 500_000

/** A day: no credential here lives longer, and the number of buckets stays below 90,000. */
const windowMsMax = 86_400_000

const bucketMs = 1_000

export interface MemoryUsedValuesOptions {
  readonly clock: Clock
  readonly valuesMax?: number
  /** Keeps values over a restart; without it, each start is a loss. */
  readonly files?: ValueFiles
  /** By default the present time: values of an earlier process are lost. */
  readonly lostAt?: number
}

/** Used values in the memory of this process, and in files if there are any. */
export function memoryUsedValues(
  options: MemoryUsedValuesOptions,
): UsedValues & { readonly size: () => number } {
  const { clock, files } = options
  const lostAt = options.lostAt ?? files?.lostAt ?? clock.now()
  const live = new LiveValues(clock.monotonic())
  for (const { key, windowMs } of files?.recorded ?? []) {
    live.add(key, clock.monotonic() + windowMs)
  }
  const valuesMax = options.valuesMax ?? usedValuesMax

  const claim = (value: string, windowMs: number): boolean => {
    if (!(windowMs > 0 && windowMs <= windowMsMax)) throw new RangeError('window out of range')
    const now = clock.monotonic()
    live.sweep(now)
    // Keyed by hash: a long value must not cost more memory than a short one.
    const key = hash('sha256', value, 'base64url')
    const expiry = live.expiryOf(key)
    if (expiry !== undefined && expiry > now) return false
    if (expiry === undefined && live.size >= valuesMax) {
      throw new Error(`the replay guard holds ${valuesMax} live values and takes no more`)
    }
    const recorded: RecordedValue = { key, windowMs, expiresAt: clock.now() + windowMs }
    // Recorded first: a process that ends in between refuses a value that was never accepted; the
    // other order would accept one twice. A failure rejects the claim.
    files?.append(recorded, now)
    live.add(key, now + windowMs)
    return true
  }

  return {
    claim: async (value, windowMs) => claim(value, windowMs),
    lostAt: () => lostAt,
    size: () => live.size,
  }
}

/**
 * Values with their expiry in monotonic time: setting the wall clock back or forward must neither
 * keep nor free a value.
 */
class LiveValues {
  readonly #expiries = new Map<string, number>()
  readonly #buckets = new Map<number, string[]>()
  #sweptTo: number

  constructor(now: number) {
    this.#sweptTo = bucketOf(now)
  }

  get size(): number {
    return this.#expiries.size
  }

  expiryOf(key: string): number | undefined {
    return this.#expiries.get(key)
  }

  add(key: string, expiry: number): void {
    this.#expiries.set(key, expiry)
    const bucket = bucketOf(expiry)
    const keys = this.#buckets.get(bucket)
    if (keys === undefined) this.#buckets.set(bucket, [key])
    else keys.push(key)
  }

  sweep(now: number): void {
    const current = bucketOf(now)
    if (current === this.#sweptTo) return
    const due =
      current - this.#sweptTo > this.#buckets.size
        ? [...this.#buckets.keys()].filter((bucket) => bucket < current)
        : Array.from({ length: current - this.#sweptTo }, (_, i) => this.#sweptTo + i)
    for (const bucket of due) {
      for (const key of this.#buckets.get(bucket) ?? []) {
        if (bucketOf(this.#expiries.get(key) ?? 0) <= bucket) this.#expiries.delete(key)
      }
      this.#buckets.delete(bucket)
    }
    this.#sweptTo = current
  }
}

function bucketOf(timeMs: number): number {
  return Math.floor(timeMs / bucketMs)
}
