/** The minimum rate at which a peer must take the response that it asked for. */
export interface BacklogLimits {
  /** A backlog of which nothing is taken for this long ends its response. */
  readonly stallMs: number
  /** Beyond `stallMs`, a backlog must shrink at this rate on average. */
  readonly bytesPerSecondMin: number
}

export type BacklogFault = 'stalled' | 'slow'

/** The bytes counted for a drained write buffer that was filled and emptied between two samples. */
const bufferBytes = 16 * 1024

/**
 * The unsent bytes of one response, sampled. The sample alone shows whether the peer takes
 * anything: a backlog that shrinks moves. Without the second limit a peer that takes one byte each
 * 29 seconds would hold a response for days.
 */
export class ResponseBacklog {
  readonly #limits: BacklogLimits
  #unsent = 0
  #since: number | null = null
  #movedAt = 0
  #taken = 0
  #drains = 0

  constructor(limits: BacklogLimits) {
    this.#limits = limits
  }

  /** As last sampled. */
  get unsent(): number {
    return this.#unsent
  }

  /** The write buffer ran empty since the last sample, which may already show it full again. */
  drained(): void {
    this.#drains += 1
  }

  /** Takes a sample; returns a fault once the peer has been too slow for too long. */
  sample(unsent: number, now: number): BacklogFault | null {
    const before = this.#unsent
    const taken = this.#drains > 0 ? Math.max(before, bufferBytes * this.#drains) : before - unsent
    this.#drains = 0
    this.#unsent = unsent
    if (unsent === 0) {
      this.#since = null
      return null
    }
    if (this.#since === null) {
      this.#since = now
      this.#movedAt = now
      this.#taken = 0
      return null
    }
    if (taken > 0) {
      this.#taken += taken
      this.#movedAt = now
    }
    const { stallMs, bytesPerSecondMin } = this.#limits
    if (now - this.#movedAt >= stallMs) return 'stalled'
    const overdueMs = now - this.#since - stallMs
    return this.#taken * 1000 < overdueMs * bytesPerSecondMin ? 'slow' : null
  }

  /** Large and slow weighs most: bytes times the time for which none was taken. */
  weight(now: number): number {
    return this.#since === null ? 0 : this.#unsent * (now - this.#movedAt + 1)
  }
}
