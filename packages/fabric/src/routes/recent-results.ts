/** More parts would make the window smoother, and each result dearer. */
const partsMax = 10

interface Part {
  /** The number of the part since the clock began. */
  readonly at: number
  good: number
  bad: number
}

/**
 * Counts the results of one endpoint within the last `windowMs`, in ten parts: a part leaves the
 * count as a whole, so that memory does not grow with the requests.
 */
export class RecentResults {
  readonly #partMs: number
  #parts: Part[] = []

  constructor(windowMs: number) {
    this.#partMs = windowMs / partsMax
  }

  /** True for the same length of the window: settings of a route change while it is in use. */
  isOf(windowMs: number): boolean {
    return this.#partMs === windowMs / partsMax
  }

  add(isGood: boolean, now: number): void {
    const at = Math.floor(now / this.#partMs)
    this.#parts = this.#parts.filter((part) => part.at > at - partsMax)
    const last = this.#parts.at(-1)
    const part = last?.at === at ? last : { at, good: 0, bad: 0 }
    if (part !== last) this.#parts.push(part)
    if (isGood) part.good += 1
    else part.bad += 1
  }

  /** As of the last result: reports whether fewer than `percent` of at least `min` were good. */
  isBelow(percent: number, min: number): boolean {
    let [good, all] = [0, 0]
    for (const part of this.#parts) {
      good += part.good
      all += part.good + part.bad
    }
    return all >= min && good * 100 < all * percent
  }
}
