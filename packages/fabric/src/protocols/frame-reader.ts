import type { BodyShare } from '../budgets/body-budget.ts'
import { nextTurn } from '../budgets/stream-turns.ts'
import { Refusal } from '../lib/refusal.ts'
import { RejectedError } from '../lib/upstream-error.ts'
import { type StreamEvent, uninspectedAnswer } from '../pipeline/delivery.ts'
import type { Frame, FrameCutter } from '../pipeline/frames.ts'
import { droppedError } from './dropped-error.ts'

/**
 * Reads the frames of a response, one at a time, on its account. Rejects for one that may not be,
 * and for a response that ends inside of one.
 */
export class FrameReader implements AsyncIterableIterator<StreamEvent, undefined> {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #share: BodyShare
  /** Null once it was dropped. */
  #cutter: FrameCutter | null
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
      const turn = this.#hasEnded ? null : nextTurn(this)
      if (turn !== null) await turn
      if (this.#hasEnded) break
      const frame = this.#left().take()
      if (frame !== null) return { done: false, value: toEvent(frame) }
      this.#count(this.#left().heldBytes)
      this.#share.isAwaited = true
      const next = await this.#chunks.next()
      this.#share.isAwaited = false
      if (next.done !== true) {
        this.#left().feed(next.value)
        continue
      }
      const last = this.#left().end()
      this.#hasEnded = true
      if (last !== null) return { done: false, value: toEvent(last) }
    }
    return { done: true, value: undefined }
  }

  /** Drops what was read and not returned yet: a further `next` rejects. */
  drop(): void {
    this.#cutter = null
    this.#count(0)
  }

  /** An end here would make the part of the response that was returned look whole. */
  #left(): FrameCutter {
    if (this.#cutter === null) throw droppedError(this.#share)
    return this.#cutter
  }

  return(): Promise<IteratorResult<StreamEvent, undefined>> {
    this.#hasEnded = true
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
