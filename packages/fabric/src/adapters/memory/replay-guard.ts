import { hash } from 'node:crypto'
import type { ReplayGuard } from '../../identity/replay-guard.ts'
import type { Clock } from '../../lib/clock.ts'

/** About 100 MB when full; at a window of two minutes, 4,000 signed messages a second. */
const noncesMaxDefault = 500_000

/** A day: no credential here lives longer, and the number of buckets stays below 90,000. */
const windowMsMax = 86_400_000

const bucketMs = 1_000

/** Forgets on restart: what was signed before it may be played once more, within its window. */
export function memoryReplayGuard(options: {
  readonly clock: Clock
  readonly noncesMax?: number
}): ReplayGuard & { readonly size: () => number } {
  const noncesMax = options.noncesMax ?? noncesMaxDefault
  // Keyed by hash: a long nonce must not cost more memory than a short one.
  const expiries = new Map<string, number>()
  const buckets = new Map<number, string[]>()
  let sweptTo = bucketOf(options.clock.monotonic())

  // Monotonic time: setting the wall clock back or forward must neither keep nor free a nonce.
  const sweep = (now: number): void => {
    const current = bucketOf(now)
    if (current === sweptTo) return
    const due =
      current - sweptTo > buckets.size
        ? [...buckets.keys()].filter((bucket) => bucket < current)
        : Array.from({ length: current - sweptTo }, (_, i) => sweptTo + i)
    for (const bucket of due) {
      for (const key of buckets.get(bucket) ?? []) {
        if (bucketOf(expiries.get(key) ?? 0) <= bucket) expiries.delete(key)
      }
      buckets.delete(bucket)
    }
    sweptTo = current
  }

  const claim = (nonce: string, windowMs: number): boolean => {
    if (!(windowMs > 0 && windowMs <= windowMsMax)) throw new RangeError('window out of range')
    const now = options.clock.monotonic()
    sweep(now)
    const key = hash('sha256', nonce, 'base64url')
    const expiry = expiries.get(key)
    if (expiry !== undefined && expiry > now) return false
    if (expiry === undefined && expiries.size >= noncesMax) {
      throw new Error(`the replay guard holds ${noncesMax} live nonces and takes no more`)
    }
    expiries.set(key, now + windowMs)
    const bucket = bucketOf(now + windowMs)
    const keys = buckets.get(bucket)
    if (keys === undefined) buckets.set(bucket, [key])
    else keys.push(key)
    return true
  }

  return {
    claim: async (nonce, windowMs) => claim(nonce, windowMs),
    size: () => expiries.size,
  }
}

function bucketOf(timeMs: number): number {
  return Math.floor(timeMs / bucketMs)
}
