import type { Clock } from '../../packages/fabric/src/lib/clock.ts'

/** Real time, which a test may shift: certificates and tokens of the world then age with it. */
export class ShiftedClock implements Clock {
  #offsetMs = 0

  readonly now = (): number => Date.now() + this.#offsetMs
  readonly monotonic = (): number => performance.now() + this.#offsetMs

  /** Runs `scene` in a world that is `ms` older, and comes back whatever happens. */
  async later<T>(ms: number, scene: () => Promise<T>): Promise<T> {
    this.#offsetMs += ms
    try {
      return await scene()
    } finally {
      this.#offsetMs -= ms
    }
  }
}
