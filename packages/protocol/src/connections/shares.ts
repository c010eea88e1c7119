/**
 * Counts what each owner holds of one total. An owner may hold at most as much as is left for
 * everyone: the first one gets half of the total, and each newcomer still finds a share, however
 * greedy the others are (the dynamic threshold of shared-memory switches).
 */
export class Shares {
  readonly #totalMax: number
  readonly #ownerMax: number
  readonly #held = new Map<string, number>()
  #total = 0

  constructor(totalMax: number, ownerMax: number = totalMax) {
    this.#totalMax = totalMax
    this.#ownerMax = ownerMax
  }

  get total(): number {
    return this.#total
  }

  /** The most that one owner holds; walks all owners. */
  get largest(): number {
    let largest = 0
    for (const held of this.#held.values()) largest = Math.max(largest, held)
    return largest
  }

  /** The most that any one owner may hold now. */
  get share(): number {
    return Math.min(this.#ownerMax, this.#totalMax - this.#total)
  }

  hasSpace(owner: string): boolean {
    return (this.#held.get(owner) ?? 0) < this.share
  }

  take(owner: string): void {
    this.#held.set(owner, (this.#held.get(owner) ?? 0) + 1)
    this.#total += 1
  }

  give(owner: string): void {
    const held = this.#held.get(owner) ?? 0
    if (held === 0) return
    if (held === 1) this.#held.delete(owner)
    else this.#held.set(owner, held - 1)
    this.#total -= 1
  }
}
