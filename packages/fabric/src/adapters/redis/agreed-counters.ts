import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../lib/clock.ts'
import { becomeFresh } from '../../state/authority.ts'
import type { Projection } from '../../state/projection.ts'
import { type StateStream, streamLimits } from '../../state/state-stream.ts'
import { REDIS_BOUNDS } from './session.ts'
import type { Agreement } from './used-values.ts'
import { clockDifferenceMsMax, type WatchedServer } from './watched-server.ts'

/** The server that the processes of a fabric agreed on. */
interface Agreed {
  /** The marker among its keys. */
  readonly marker: string
  /**
   * Until this time of its clock, another process may have used the server before; null for the
   * first one of a new fabric.
   */
  readonly lostAt: number | null
}

/** The other processes of the fabric, by the notes of their log slots. */
export interface CounterPeers {
  /** Publishes the note of this process, with the present marker of its server. */
  publish(): Promise<void>
  /** Returns the log slot of another process that runs with this marker; null without one. */
  slotWith(marker: string): Promise<string | null>
}

export interface AgreedCountersOptions {
  readonly state: StateStream
  readonly server: Pick<WatchedServer, 'marker' | 'now' | 'fault' | 'onLook'>
  readonly clock: Pick<Clock, 'monotonic'>
  /** True when no value can have been used before: the fabric is new. */
  readonly isFirst: boolean
  log(event: string, facts?: Readonly<Record<string, string | number>>): void
}

/** Of the one row, in the table of settings. */
const agreedKey = 'counters'

/**
 * The time for which a process may use the server before after another one was agreed on: it reads
 * the state anew before each claim once that is older than the first, and waits no longer than the
 * second for a claim.
 */
const changeMs = streamLimits.staleMs + REDIS_BOUNDS.commandMs

/** For another process to find that the server was replaced, as it looks each second. */
export const agreementMs = 5_000
const retryMs = 200

/**
 * Keeps the processes of a fabric on one server of counters: two that were led to different ones,
 * by their configuration, a name or a failover, would each accept a signed request once.
 *
 * The state has the marker of the server, and a value is claimed only under that marker. A process
 * that finds another one replaces it when no process that runs has the agreed one; the change
 * counts as a loss. Otherwise it claims nothing, and states with whom it differs.
 */
export class AgreedCounters implements Agreement {
  readonly #options: AgreedCountersOptions
  readonly #rows: Projection<Agreed>
  #peers: CounterPeers | null = null
  #published: string | null = null
  #seeking: Promise<void> | null = null
  #stop: () => void = () => undefined
  /** The log slot with another server; null without one. */
  #other: string | null = null

  constructor(options: AgreedCountersOptions) {
    this.#options = options
    this.#rows = options.state.project<Agreed>({
      table: 'settings',
      parse: parseAgreed,
      format: JSON.stringify,
    })
  }

  /** Rejects when a process that runs uses another server. Called once, before any claim. */
  async join(peers: CounterPeers): Promise<void> {
    this.#peers = peers
    const { clock, server } = this.#options
    const giveUpAt = clock.monotonic() + agreementMs
    for (;;) {
      await this.seek()
      const fault = this.fault()
      if (fault === null) break
      if (clock.monotonic() >= giveUpAt) throw new Error(fault)
      await sleep(retryMs)
    }
    // A failure recurs with the next look, and claims reject meanwhile.
    this.#stop = server.onLook(() => void this.seek().catch(() => undefined))
  }

  /** Why nothing can be claimed now; null while it can. */
  fault(): string | null {
    const marker = this.#options.server.marker()
    if (marker === null) return this.#options.server.fault()
    const agreed = this.#rows.find(agreedKey)
    if (agreed?.marker === marker) return null
    if (agreed === null || this.#other === null) return 'the counters are not agreed on yet'
    return `the process of log slot ${this.#other} has other counters than this one, so that a signed request would be accepted once at each: set engines.counters of both to one Redis, and look at what its name leads to`
  }

  async marker(): Promise<string> {
    await becomeFresh(this.#options.state)
    const agreed = this.#rows.find(agreedKey)
    // Each claim would look at the server again, which the timer does as well.
    const fault = agreed === null || this.#other !== null ? this.fault() : null
    if (agreed === null || fault !== null) throw new Error(fault ?? 'there is no agreement')
    return agreed.marker
  }

  lostAt(): number {
    const lostAt = this.#rows.find(agreedKey)?.lostAt ?? Number.NEGATIVE_INFINITY
    return lostAt + clockDifferenceMsMax
  }

  seek(): Promise<void> {
    this.#seeking ??= this.#seek().finally(() => {
      this.#seeking = null
    })
    return this.#seeking
  }

  close(): void {
    this.#stop()
    this.#peers = null
  }

  async #seek(): Promise<void> {
    const { state, server, log } = this.#options
    const marker = server.marker()
    if (marker === null || this.#peers === null) return
    if (this.#published !== marker) {
      await this.#peers.publish()
      this.#published = marker
    }
    await becomeFresh(state)
    const agreed = this.#rows.find(agreedKey)
    if (agreed?.marker === marker) {
      this.#other = null
      return
    }
    const other = agreed === null ? null : await this.#peers.slotWith(agreed.marker)
    if (other !== null && this.#other === null) log('counters differ', { slot: other })
    this.#other = other
    if (other === null) await this.#agreeOn(marker, agreed)
  }

  async #agreeOn(marker: string, former: Agreed | null): Promise<void> {
    const { state, server, isFirst, log } = this.#options
    const now = server.now()
    if (now === null) return
    const isNew = isFirst && former === null
    const lostAt = isNew ? null : Math.max(Math.ceil(now) + changeMs, former?.lostAt ?? 0)
    const isChanged = await state.commit(() => {
      const present = this.#rows.find(agreedKey)
      // Another process was faster: this one follows it, or differs from it.
      if (present?.marker !== former?.marker) return null
      return [this.#rows.change(agreedKey, { marker, lostAt })]
    })
    if (isChanged && !isNew) {
      log('used values may be lost', { reason: 'the fabric did not use this Redis before' })
    }
  }
}

function parseAgreed(_: string, text: string): Agreed {
  const { marker, lostAt } = JSON.parse(text) as Partial<Agreed>
  const isTime = lostAt === null || Number.isSafeInteger(lostAt)
  if (typeof marker === 'string' && lostAt !== undefined && isTime) return { marker, lostAt }
  throw new TypeError('the agreement on counters is not a marker and a time')
}
