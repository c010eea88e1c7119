import type { Clock } from '../../packages/fabric/src/lib/clock.ts'

/**
 * A fabric's certificate is replaced at half of its lifetime, if its look at the clock falls into a
 * scene.
 */
const farMs = 3_600_000

/** Real time, which a test may shift: certificates and tokens of the world then age with it. */
export class ShiftedClock implements Clock {
  #offsetMs = 0
  #advancedMs = 0
  /**
   * True when it was ever so late that a server replaces its certificate by one that is not good
   * yet.
   */
  wentFar = false

  readonly now = (): number => Date.now() + this.#offsetMs
  readonly monotonic = (): number => performance.now() + this.#advancedMs

  /** Runs `scene` at a wall clock that shows `ms` later, and comes back whatever happens. */
  async later<T>(ms: number, scene: () => Promise<T>): Promise<T> {
    this.#offsetMs += ms
    this.wentFar ||= this.#offsetMs >= farMs
    try {
      return await scene()
    } finally {
      this.#offsetMs -= ms
    }
  }

  /** Lets `ms` pass on the monotonic clock, which cannot go back. */
  advance(ms: number): void {
    this.#advancedMs += ms
  }
}
