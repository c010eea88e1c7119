import type { Clock } from '../lib/clock.ts'

/** Often enough: at full load a few hundred megabytes go by in a second at most. */
const measureEveryMs = 1000

/** Stops appends while the disk still has room for what was accepted. */
export class SpaceGuard {
  readonly #freeBytes: () => Promise<number>
  readonly #freeBytesMin: number
  readonly #clock: Clock
  #measuredAt = Number.NEGATIVE_INFINITY
  #enough = false

  constructor(freeBytes: () => Promise<number>, freeBytesMin: number, clock: Clock) {
    this.#freeBytes = freeBytes
    this.#freeBytesMin = freeBytesMin
    this.#clock = clock
  }

  /** The last answer; a new one is on its way when that is old. */
  get enough(): boolean {
    if (this.#clock.monotonic() - this.#measuredAt >= measureEveryMs) void this.measure()
    return this.#enough
  }

  /** What cannot be measured counts as full. */
  async measure(): Promise<void> {
    this.#measuredAt = this.#clock.monotonic()
    this.#enough = await this.#freeBytes().then(
      (bytes) => bytes >= this.#freeBytesMin,
      () => false,
    )
  }
}
