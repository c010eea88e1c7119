import type { Clock } from '../lib/clock.ts'
import { overLimit } from '../lib/limits.ts'
import type { Refusal } from '../lib/refusal.ts'

/** Failed checks that one network may cost in a minute: some 0.1 s of the processor. */
const perMinute = 600
const windowMs = 60_000
/** Beyond it the oldest begins anew. */
const networksMax = 10_000

const limit = { name: 'identity.tokenChecks', value: perMinute, unit: 'per-minute' } as const

interface Window {
  readonly until: number
  spent: number
}

/**
 * The allowance of a network for signature checks of tokens that then fail. It is spent before the
 * check and returned when the signature is good, so that attempts at the same time do not exceed
 * it.
 */
export class SignatureChecks {
  readonly #clock: Clock
  readonly #windows = new Map<string, Window>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Returns how to give the attempt back, or the refusal when none is left. */
  take(network: string): (() => void) | Refusal {
    const now = this.#clock.monotonic()
    let window = this.#windows.get(network)
    if (window === undefined || window.until <= now) {
      window = this.#open(network, now)
    }
    if (window.spent >= perMinute) {
      return overLimit('RATE_LIMITED', limit, '', Math.ceil(window.until - now))
    }
    const taken = window
    taken.spent += 1
    return () => {
      taken.spent -= 1
    }
  }

  #open(network: string, now: number): Window {
    this.#windows.delete(network)
    const [oldest] = this.#windows.keys()
    if (this.#windows.size >= networksMax && oldest !== undefined) this.#windows.delete(oldest)
    const window = { until: now + windowMs, spent: 0 }
    this.#windows.set(network, window)
    return window
  }
}
