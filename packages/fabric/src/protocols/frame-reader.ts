import type { BodyShare } from '../budgets/body-budget.ts'
import { streamTurns } from '../budgets/fair-turns.ts'
import { Refusal } from '../lib/refusal.ts'
import { RejectedError } from '../lib/upstream-error.ts'
import { type StreamEvent, uninspectedAnswer } from '../pipeline/delivery.ts'
import type { Frame, FrameCutter } from '../pipeline/frames.ts'

/**
 * Reads the frames of a response, one at a time, on its account. Rejects for one that may not be,
 * and for a response that ends inside of one.
 */
export class FrameReader implements AsyncIterableIterator<StreamEvent, undefined> {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #share: BodyShare
  readonly #cutter: FrameCutter
  #counted = 0
  #hasEnded = false

  constructor(chunks: AsyncIterable<Uint8Array>, share: BodyShare, cutter: FrameCutter) {
    this.#chunks = chunks[Symbol.asyncIterator]()
    this.#share = share
    this.#cutter = cutter
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<StreamEvent, undefined>> {
    for (;;) {
      const turn = this.#hasEnded ? null : streamTurns.next(this)
      if (turn !== null) await turn
      if (this.#hasEnded) break
      const frame = this.#cutter.take()
      if (frame !== null) return { done: false, value: toEvent(frame) }
      this.#count(this.#cutter.heldBytes)
      this.#share.isAwaited = true
      const next = await this.#chunks.next()
      this.#share.isAwaited = false
      if (next.done !== true) {
        this.#cutter.feed(next.value)
        continue
      }
      this.#hasEnded = true
      const last = this.#cutter.end()
      if (last !== null) return { done: false, value: toEvent(last) }
    }
    return { done: true, value: undefined }
  }

  /** Drops what was read and not returned yet. */
  drop(): void {
    this.#hasEnded = true
    this.#count(0)
  }

  return(): Promise<IteratorResult<StreamEvent, undefined>> {
    this.drop()
    return Promise.resolve({ done: true, value: undefined })
  }

  #count(bytes: number): void {
    const more = bytes - this.#counted
    this.#counted = bytes
    if (more > 0) this.#share.take(more)
    else this.#share.give(-more)
  }
}

function toEvent(frame: Frame | Refusal): StreamEvent {
  if (frame instanceof Refusal) throw new RejectedError(uninspectedAnswer(frame))
  const { contentType, ...rest } = frame
  return { ...rest, contentType: contentType ?? 'application/octet-stream', frame: [] }
}
