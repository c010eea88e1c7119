import { overLimit, Shares } from '../../lib/limits.ts'
import { OutOfSpaceError } from '../../lib/upstream-error.ts'

const retryAfterMs = 1_000

/**
 * The streamed requests at each endpoint. One takes as long as its caller, who could have every
 * connection there for an hour: all of them together leave some to other requests, and one caller
 * gets at most as many places as are left for others.
 */
export class StreamPlaces {
  readonly #max: number
  readonly #endpoints = new Map<string, Shares>()

  constructor(max: number) {
    this.#max = max
  }

  /** Takes a place, which the result gives back. Throws `OutOfSpaceError` where there is none. */
  take(endpoint: string, caller: string): () => void {
    const known = this.#endpoints.get(endpoint)
    const shares = known ?? new Shares(this.#max)
    if (!shares.hasSpace(caller)) {
      const limit = { name: 'upstream.streams', value: this.#max, unit: 'count' } as const
      const detail = 'streamed requests at one endpoint, of which each caller has a share'
      throw new OutOfSpaceError(overLimit('OVERLOADED', limit, detail, retryAfterMs))
    }
    if (known === undefined) this.#endpoints.set(endpoint, shares)
    shares.take(caller)
    return () => {
      shares.give(caller)
      if (shares.total === 0 && this.#endpoints.get(endpoint) === shares) {
        this.#endpoints.delete(endpoint)
      }
    }
  }
}
