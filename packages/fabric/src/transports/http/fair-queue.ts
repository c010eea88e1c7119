interface Line<T> {
  readonly items: T[]
  /** What the client has used, on the clock of all of them. */
  used: number
}

/** Clients that wait for nothing and owe nothing are forgotten once there are this many. */
const linesKept = 1_024

/**
 * Gives out what waits so that each client gets the same amount of time, however many items it has
 * and however long they take (start-time fair queueing). A client that comes back does not get the
 * time that it left unused, and one that has used more than others waits for them.
 */
export class FairQueue<T> {
  readonly #lines = new Map<string, Line<T>>()
  /** What the client that was served last had used. */
  #clock = 0

  push(client: string, item: T): void {
    const known = this.#lines.get(client)
    const line = known ?? { items: [], used: this.#clock }
    if (line.items.length === 0) line.used = Math.max(line.used, this.#clock)
    line.items.push(item)
    if (known !== undefined) return
    if (this.#lines.size >= linesKept) this.#forget()
    this.#lines.set(client, line)
  }

  /** The oldest item of the client that has used least; of equals, the one that has waited longest. */
  take(): T | undefined {
    let client = ''
    let next: Line<T> | undefined
    for (const [name, line] of this.#lines) {
      if (line.items.length === 0 || (next !== undefined && line.used >= next.used)) continue
      client = name
      next = line
    }
    if (next === undefined) return undefined
    this.#clock = Math.max(this.#clock, next.used)
    // To the end of the order, so that clients whose items cost nothing take turns as well.
    this.#lines.delete(client)
    this.#lines.set(client, next)
    return next.items.shift()
  }

  charge(client: string, time: number): void {
    const line = this.#lines.get(client)
    if (line !== undefined) line.used += Math.max(0, time)
  }

  /** Empties the queue. */
  drain(): readonly T[] {
    const items = [...this.#lines.values()].flatMap((line) => line.items)
    this.#lines.clear()
    return items
  }

  #forget(): void {
    for (const [client, { items, used }] of this.#lines) {
      if (items.length === 0 && used <= this.#clock) this.#lines.delete(client)
    }
  }
}
