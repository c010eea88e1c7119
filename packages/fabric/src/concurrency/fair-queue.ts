/** Taken items that a share drops at once, so that dropping one costs little. */
const takenMax = 64

interface Share<Item> {
  readonly items: Item[]
  /** The next of them; those before it have left. */
  at: number
}

/**
 * A bounded queue of work of many clients. They take turns, one piece each, however much work one
 * of them has brought, and none may have more than is left for others.
 */
export class FairQueue<Item> {
  readonly #max: number
  /** In the order of their turns. */
  readonly #shares = new Map<string, Share<Item>>()
  #size = 0

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#size
  }

  /** False, with nothing added, where the client has as much as is left. */
  push(client: string, item: Item): boolean {
    const share = this.#shares.get(client)
    const own = share === undefined ? 0 : share.items.length - share.at
    if (own + this.#size >= this.#max) return false
    if (share === undefined) this.#shares.set(client, { items: [item], at: 0 })
    else share.items.push(item)
    this.#size++
    return true
  }

  /** Takes up to `max` pieces, those of one client in the order in which it brought them. */
  take(max: number): Item[] {
    const taken: Item[] = []
    // A share that is moved to the end of a map is visited again.
    for (const [client, share] of this.#shares) {
      if (taken.length >= max) break
      const item = share.items[share.at++]
      // A share that is never empty would keep all that was ever in it.
      if (share.at >= takenMax && share.at * 2 >= share.items.length) {
        share.items.splice(0, share.at)
        share.at = 0
      }
      this.#shares.delete(client)
      if (share.at < share.items.length) this.#shares.set(client, share)
      if (item !== undefined) taken.push(item)
    }
    this.#size -= taken.length
    return taken
  }
}
