import type { Limit } from '@countersign/protocol'
import { overLimit, Shares } from '../../lib/limits.ts'
import { OutOfSpaceError } from '../../lib/upstream-error.ts'

const retryAfterMs = 1_000

/**
 * Places at each endpoint, such as those of streamed requests. One is taken for as long as its
 * owner likes, who could have all of them: one owner gets at most as many as are left for others.
 */
export class EndpointPlaces {
  readonly #limit: Limit
  readonly #detail: string
  readonly #endpoints = new Map<string, Shares>()

  constructor(limit: Limit, detail: string) {
    this.#limit = limit
    this.#detail = detail
  }

  hasSpace(endpoint: string, owner: string): boolean {
    return (this.#endpoints.get(endpoint) ?? new Shares(this.#limit.value)).hasSpace(owner)
  }

  /**
   * Takes a place, which the first call of the result gives back. Throws `OutOfSpaceError` where
   * there is none.
   */
  take(endpoint: string, owner: string): () => void {
    if (!this.hasSpace(endpoint, owner)) {
      throw new OutOfSpaceError(overLimit('OVERLOADED', this.#limit, this.#detail, retryAfterMs))
    }
    const shares = this.#endpoints.get(endpoint) ?? new Shares(this.#limit.value)
    this.#endpoints.set(endpoint, shares)
    shares.take(owner)
    let isTaken = true
    return () => {
      if (!isTaken) return
      isTaken = false
      shares.give(owner)
      if (shares.total === 0) this.#endpoints.delete(endpoint)
    }
  }
}
