import type { Clock } from '../../packages/fabric/src/lib/clock.ts'

/** Real time, which a test may shift: certificates and tokens of the world then age with it. */
export class ShiftedClock implements Clock {
  #offsetMs = 0
  #advancedMs = 0

  readonly now = (): number => Date.now() + this.#offsetMs
  readonly monotonic = (): number => performance.now() + this.#advancedMs

  /** Runs `scene` at a wall clock that shows `ms` later, and comes back whatever happens. */
  async later<T>(ms: number, scene: () => Promise<T>): Promise<T> {
    this.#offsetMs += ms
    try {
      return await scene()
    } finally {
      this.#offsetMs -= ms
    }
  }

  /** Lets `ms` pass on the monotonic clock. There is no way back. */
  advance(ms: number): void {
    this.#advancedMs += ms
  }
}
