import { overLimit } from '../lib/limits.ts'
import type { Refusal } from '../lib/refusal.ts'

const retryAfterMs = 1_000

/** Streamed requests that one caller may have open at a time. */
export const openStreamsMax = 256

/**
 * Counts the streamed requests of each caller, from their heads to their ends: one in which nothing
 * happens costs its sender nothing else for an hour.
 */
export class OpenStreams {
  readonly #max: number
  readonly #open = new Map<string, number>()

  constructor(max: number = openStreamsMax) {
    this.#max = max
  }

  openOf(identity: string): number {
    return this.#open.get(identity) ?? 0
  }

  /** Gives the function that gives the place back; further calls of it do nothing. */
  open(identity: string): (() => void) | Refusal {
    const open = this.openOf(identity)
    if (open >= this.#max) {
      const limit = {
        name: 'stream.open',
        value: this.#max,
        unit: 'count',
        per: 'identity',
      } as const
      return overLimit('RATE_LIMITED', limit, 'too many streamed requests', retryAfterMs)
    }
    this.#open.set(identity, open + 1)
    let isOpen = true
    return () => {
      if (!isOpen) return
      isOpen = false
      const left = this.openOf(identity) - 1
      if (left === 0) this.#open.delete(identity)
      else this.#open.set(identity, left)
    }
  }
}
