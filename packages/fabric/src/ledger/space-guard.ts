import type { Limit } from '@countersign/protocol'
import { ListenerSet } from '@countersign/protocol'
import { type Clock, setDeadline } from '../lib/clock.ts'
import { LedgerBusy } from './unavailable.ts'

/** Often enough: at full load a few hundred megabytes go by in a second at most. */
const freshMs = 1_000
/** Closer to the end, where only what closes exchanges and administration still writes. */
const freshWhenFullMs = 100
/** Also while nothing is appended: open streams end when the disk does, and gauges show it. */
const measureEveryMs = 500
/** A disk that does not answer for this long counts as one that cannot be measured. */
const measureMsMax = 5_000

/**
 * The purpose of an entry. Each purpose stops at a bound of its own: entries that begin exchanges
 * first, so that those under way can end; then oversight, so that no amount of reading takes the
 * room that the operator needs to quarantine the agent that fills the disk.
 */
export type SpacePurpose = 'opening' | 'oversight' | 'reserved'

export interface SpaceState {
  /** On the fullest of the volumes; null when it could not be measured. */
  readonly freeBytes: number | null
  /**
   * `low`: entries are still taken, and the operator should act. `full`: only oversight,
   * administration and what closes an exchange. `exhausted`: nothing at all.
   */
  readonly state: 'ok' | 'low' | 'full' | 'exhausted'
  readonly warnBytes: number
  readonly refuseBytes: number
  readonly reserveBytes: number
}

export interface SpaceGuardOptions {
  readonly freeBytes: () => Promise<number>
  readonly refuseBytes: number
  /** Less than `refuseBytes`: below it only administration and closing entries are accepted. */
  readonly readBytes: number
  /** Less than `readBytes`: below it nothing at all is accepted. */
  readonly reserveBytes: number
  readonly warnBytes: number
  readonly clock: Clock
}

/** Stops appends while the disk still has room for what was accepted, and warns before that. */
export class SpaceGuard {
  readonly #options: SpaceGuardOptions
  readonly #listeners = new ListenerSet<SpaceState>()
  #measuredAt = Number.NEGATIVE_INFINITY
  #measuring: Promise<void> | null = null
  #freeBytes: number | null = null
  #state: SpaceState['state'] = 'ok'
  #timer: ReturnType<typeof setInterval> | null = null

  constructor(options: SpaceGuardOptions) {
    this.#options = options
  }

  /** As last measured; a new measurement is on its way when that is old. */
  get space(): SpaceState {
    // The measurement notifies its listeners while it is under way.
    if (this.#measuring === null) void this.freshen()
    const { warnBytes, refuseBytes, reserveBytes } = this.#options
    const bounds = { warnBytes, refuseBytes, reserveBytes }
    return { freeBytes: this.#freeBytes, state: this.#state, ...bounds }
  }

  /** Called with what was measured whenever the state becomes another one. */
  onChange(listener: (space: SpaceState) => void): () => void {
    return this.#listeners.add(listener)
  }

  /** Measures on its own from now on. */
  start(): void {
    this.#timer ??= setInterval(() => void this.measure(), measureEveryMs).unref()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  /**
   * Null while the last measurement is fresh, else the next one, which all callers share that ask
   * for it: the free space before a pause is not a reliable value, since others fill the disk as
   * well.
   */
  freshen(): Promise<void> | null {
    const fresh = this.#state === 'full' ? freshWhenFullMs : freshMs
    const age = this.#options.clock.monotonic() - this.#measuredAt
    return this.#measuring === null && age < fresh ? null : this.measure()
  }

  /** Throws LedgerBusy when the disk has too little room for that. */
  assertSpace(purpose: SpacePurpose): void {
    const limit = this.#limitOf(purpose)
    if (limit === null) return
    const free = this.#freeBytes === null ? 'an unknown number of' : String(this.#freeBytes)
    throw new LedgerBusy(limit, `the disk of the ledger is nearly full: ${free} bytes are free`)
  }

  /** The bound that stops it now; null where none does. */
  #limitOf(purpose: SpacePurpose): Limit | null {
    const { refuseBytes, readBytes, reserveBytes } = this.#options
    const limit = (name: Limit['name'], value: number): Limit => ({ name, value, unit: 'bytes' })
    if (this.#state === 'exhausted') return limit('ledger.freeBytesReserve', reserveBytes)
    if (this.#state !== 'full' || purpose === 'reserved') return null
    if (purpose === 'opening') return limit('ledger.freeBytes', refuseBytes)
    return (this.#freeBytes ?? 0) < readBytes ? limit('ledger.freeBytesRead', readBytes) : null
  }

  measure(): Promise<void> {
    this.#measuring ??= this.#measure().finally(() => {
      this.#measuring = null
    })
    return this.#measuring
  }

  async #measure(): Promise<void> {
    const { freeBytes, clock } = this.#options
    this.#measuredAt = clock.monotonic()
    const bytes = await inTime(
      freeBytes().catch(() => null),
      measureMsMax,
    )
    this.#freeBytes = bytes
    const before = this.#state
    this.#state = this.#stateAt(bytes)
    if (this.#state === before) return
    const { space } = this
    this.#listeners.notify(space)
  }

  /** Nothing begins on a disk that cannot be measured; what is under way may find that it works. */
  #stateAt(bytes: number | null): SpaceState['state'] {
    const { refuseBytes, reserveBytes, warnBytes } = this.#options
    if (bytes === null) return this.#state === 'exhausted' ? 'exhausted' : 'full'
    if (bytes < reserveBytes) return 'exhausted'
    if (bytes < refuseBytes) return 'full'
    return bytes < warnBytes ? 'low' : 'ok'
  }
}

/** Null where nothing was measured within `msMax`. */
export function inTime(measured: Promise<number | null>, msMax: number): Promise<number | null> {
  return new Promise((resolve) => {
    const cancel = setDeadline(msMax, () => resolve(null))
    void measured.then((bytes) => {
      cancel()
      resolve(bytes)
    })
  })
}
