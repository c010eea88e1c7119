import type { Clock } from '../lib/clock.ts'
import { LedgerBusy } from './unavailable.ts'

/** Often enough: at full load a few hundred megabytes go by in a second at most. */
const measureEveryMs = 1000

export interface SpaceState {
  /** On the fullest of the volumes; null when it could not be measured. */
  readonly freeBytes: number | null
  /** `low`: entries are still taken, and the operator should act. `full`: none is taken. */
  readonly state: 'ok' | 'low' | 'full'
  readonly warnBytes: number
  readonly refuseBytes: number
}

export interface SpaceGuardOptions {
  readonly freeBytes: () => Promise<number>
  readonly refuseBytes: number
  readonly warnBytes: number
  readonly clock: Clock
  /** Called whenever the state becomes another one. */
  readonly changed: (space: SpaceState) => void
}

/** Stops appends while the disk still has room for what was accepted, and warns before that. */
export class SpaceGuard {
  readonly #options: SpaceGuardOptions
  #measuredAt = Number.NEGATIVE_INFINITY
  #freeBytes: number | null = null
  #state: SpaceState['state'] = 'ok'

  constructor(options: SpaceGuardOptions) {
    this.#options = options
  }

  /** As last measured; a new measurement is on its way when that is old. */
  get space(): SpaceState {
    if (this.#options.clock.monotonic() - this.#measuredAt >= measureEveryMs) void this.measure()
    const { warnBytes, refuseBytes } = this.#options
    return { freeBytes: this.#freeBytes, state: this.#state, warnBytes, refuseBytes }
  }

  /** Throws LedgerBusy when the disk has too little room. */
  assertRoom(): void {
    const { clock, refuseBytes } = this.#options
    if (clock.monotonic() - this.#measuredAt >= measureEveryMs) void this.measure()
    if (this.#state !== 'full') return
    const limit = { name: 'ledger.freeBytes', value: refuseBytes, unit: 'bytes' } as const
    const free = this.#freeBytes === null ? 'an unknown number of' : String(this.#freeBytes)
    throw new LedgerBusy(limit, `the disk of the ledger is nearly full: ${free} bytes are free`)
  }

  /** A disk that cannot be measured counts as full. */
  async measure(): Promise<void> {
    const { freeBytes, refuseBytes, warnBytes, clock, changed } = this.#options
    this.#measuredAt = clock.monotonic()
    const bytes = await freeBytes().catch(() => null)
    const before = this.#state
    this.#freeBytes = bytes
    if (bytes === null || bytes < refuseBytes) this.#state = 'full'
    else this.#state = bytes < warnBytes ? 'low' : 'ok'
    if (this.#state !== before) changed(this.space)
  }
}
