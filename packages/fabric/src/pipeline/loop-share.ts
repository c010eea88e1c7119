import { threadCpuMs } from '../lib/clock.ts'
import { overLimit } from '../lib/limits.ts'
import type { Refusal } from '../lib/refusal.ts'
import { InspectionWork, TooMuchWork } from '../redaction/inspection-work.ts'
import { TimeCredit } from './time-credit.ts'

/**
 * More is parsed and inspected in a thread: this many bytes take some 3 ms at worst to classify.
 */
export const inlineBytesMax = 8 * 1024
/** 4 ms at worst; an ordinary message of `inlineBytesMax` takes a fifth of it. */
export const inlineStepsMax = 250_000

/** One pass over an answer, to see whether it is worth more than that. */
const glanceBytesMax = 1024 * 1024

/** The time of an ordinary message is free: the request costs more than that anyway. */
const freeMs = 0.25
/** Beyond it, a client may use a twentieth of the event loop. */
const shareOptions = { rate: 0.05, creditMsMax: 250, debtMsMax: 5_000 }

/** Each frame of a stream costs the loop this much besides its inspection, however small it is. */
const frameMs = 0.02

/** Requests to the fabric itself, which no thread can read: a tenth of the loop beyond a second. */
const controlOptions = { rate: 0.1, creditMsMax: 1_000, debtMsMax: 10_000 }
const controlLimit = {
  name: 'work.controlMs',
  value: controlOptions.creditMsMax,
  unit: 'ms',
} as const
const retryAfterMs = 2_000

interface Began {
  readonly at: number
  /** Null where only time counts. */
  readonly cpu: number | null
}

/**
 * The event loop's time for parsing and inspection. All exchanges share it, so a piece of work runs
 * on it only when it is small, and while its client has not used more than its share.
 */
export class LoopShare {
  readonly #credit: TimeCredit
  readonly #control: TimeCredit
  readonly #now: () => number
  readonly #cpu: () => number

  constructor(now: () => number, cpu: () => number = threadCpuMs) {
    this.#now = now
    this.#cpu = cpu
    this.#credit = new TimeCredit({ ...shareOptions, now })
    this.#control = new TimeCredit({ ...controlOptions, now })
  }

  /**
   * The result of `run`, or null where it is for the thread: too large, too costly, or too often.
   */
  run<T>(client: string, bytes: number, run: (work: InspectionWork) => T): T | null {
    if (bytes > inlineBytesMax || !this.#credit.has(client)) return null
    const began = this.#start(this.#credit, client)
    try {
      return run(new InspectionWork(inlineStepsMax))
    } catch (cause) {
      if (cause instanceof TooMuchWork) return null
      throw cause
    } finally {
      this.#charge(this.#credit, client, began)
    }
  }

  /** Charges one frame of a stream: no message of its own has paid for it. */
  countFrame(client: string): void {
    this.#credit.charge(client, frameMs)
  }

  /**
   * The result of `look`, which takes a nanosecond or two for each of `bytes`; null where they are
   * many, or the client has used its share.
   */
  glance<T>(client: string, bytes: number, look: () => T): T | null {
    if (bytes > glanceBytesMax || !this.#credit.has(client)) return null
    const began = this.#start(this.#credit, client)
    try {
      return look()
    } finally {
      this.#charge(this.#credit, client, began)
    }
  }

  /**
   * The result of `read`, for a request to the fabric itself; a refusal of who has used its share.
   */
  runControl<T>(client: string, read: () => T): T | Refusal {
    if (!this.#control.has(client)) {
      return overLimit('OVERLOADED', controlLimit, 'requests to the fabric', retryAfterMs)
    }
    const began = this.#start(this.#control, client)
    try {
      return read()
    } finally {
      this.#charge(this.#control, client, began)
    }
  }

  /** To ask for the processor time costs a call of the system, so it is asked once it matters. */
  #start(credit: TimeCredit, client: string): Began {
    return { at: this.#now(), cpu: credit.isLow(client) ? this.#cpu() : null }
  }

  /**
   * Charges the time that went by, and no more than the thread has used once half of the credit is
   * gone. On a busy machine time goes by for other processes: charged to clients without end, it
   * would send all of them to the thread, which costs more.
   */
  #charge(credit: TimeCredit, client: string, { at, cpu }: Began): void {
    const elapsed = this.#now() - at - freeMs
    if (elapsed <= 0) return
    const used = cpu === null ? elapsed : this.#cpu() - cpu - freeMs
    credit.charge(client, Math.min(elapsed, used))
  }
}
