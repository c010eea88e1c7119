/**
 * Time after which messages that were passed over are looked at again, even if no known change has
 * occurred.
 */
const reviewMs = 10_000
/**
 * A review that took long is not begun again before nine times as long, but never later than this.
 */
const reviewMsMax = 300_000
const pausePerReview = 9
/** Readers whose place is kept, together and of one identity; one that is forgotten begins anew. */
const readersMax = 10_000
const readersPerIdentityMax = 256

/** One look of a reader: behind which place it begins, and whether before all that is new. */
export interface Look {
  readonly review: number
  readonly after: number
  readonly first: boolean
}

/**
 * The progress of one reader through the messages that were passed over in its group. It sees each
 * of those messages once, in their order, and all of them again when the reason may have gone:
 * `rights` has changed, or time has passed. A review that has begun is finished first, so that
 * changes in a row cannot keep it from the last message.
 */
export class Review {
  #number = 0
  #after = 0
  #first = false
  #rights: string
  #begunAt: number
  /** The time at which the next may begin; null while one is under way. */
  #nextAt: number | null = null

  constructor(rights: string, now: number) {
    this.#rights = rights
    this.#begunAt = now
  }

  /**
   * Every other look begins with what was passed over: neither it nor a flood of new ones waits for
   * ever.
   */
  next(rights: string, now: number): Look {
    if (this.#nextAt !== null && (rights !== this.#rights || now >= this.#nextAt)) {
      this.#number++
      this.#after = 0
      this.#rights = rights
      this.#begunAt = now
      this.#nextAt = null
    }
    this.#first = !this.#first
    return { review: this.#number, after: this.#after, first: this.#first }
  }

  /** `places` are those of what the look found. */
  saw(look: Look, places: readonly (number | null)[], now: number): void {
    // Another request of the same reader has begun the next review.
    if (look.review !== this.#number) return
    let last = 0
    for (const place of places) last = Math.max(last, place ?? 0)
    this.#after = Math.max(this.#after, last)
    if (last > 0 || !look.first || this.#nextAt !== null) return
    const took = pausePerReview * (now - this.#begunAt)
    this.#nextAt = now + Math.min(Math.max(reviewMs, took), reviewMsMax)
  }
}

/** The reviews of all readers, in memory: after a start everything is looked at anew. */
export class Reviews {
  readonly #readers = new Map<string, Map<string, Review>>()

  /** `place` names channel, group and proof: what one proof may not have, another may. */
  of(identity: string, place: string, start: () => Review): Review {
    const own = this.#readers.get(identity) ?? new Map<string, Review>()
    const review = own.get(place) ?? start()
    // Those that were used last stand last, and go last.
    refresh(own, place, review, readersPerIdentityMax)
    refresh(this.#readers, identity, own, readersMax)
    return review
  }
}

function refresh<V>(map: Map<string, V>, key: string, value: V, countMax: number): void {
  map.delete(key)
  const oldest = map.keys().next()
  if (map.size >= countMax && oldest.done === false) map.delete(oldest.value)
  map.set(key, value)
}
