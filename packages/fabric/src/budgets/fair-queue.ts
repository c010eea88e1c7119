/** A party that takes turns with others, by the time that it has used. */
interface Line {
  /** The time that it has used, on the clock of all that it takes turns with. */
  used: number
  /** The number of items that wait in it. */
  readonly size: number
}

/** Lines in which nothing waits and which owe nothing are forgotten once there are this many. */
const linesKept = 1_024

/**
 * Gives each line the same amount of time, however many items it has and however long they take
 * (start-time fair queueing). One that comes back does not get the time that it left unused, and
 * one that has used more than others waits for them.
 */
class Turns<L extends Line> {
  readonly #lines = new Map<string, L>()
  /** The time that the line served last had used. */
  #clock = 0

  /** The line of that name, to which an item is added. */
  join(name: string, make: () => L): L {
    const known = this.#lines.get(name)
    const line = known ?? make()
    if (line.size === 0) line.used = Math.max(line.used, this.#clock)
    if (known !== undefined) return line
    if (this.#lines.size >= linesKept) this.#forget()
    this.#lines.set(name, line)
    return line
  }

  /**
   * The line that has used least, of those in which something waits; of equals, the one that has
   * waited longest.
   */
  next(): L | undefined {
    let name = ''
    let next: L | undefined
    for (const [each, line] of this.#lines) {
      if (line.size === 0 || (next !== undefined && line.used >= next.used)) continue
      name = each
      next = line
    }
    if (next === undefined) return undefined
    this.#clock = Math.max(this.#clock, next.used)
    // To the end of the order, so that lines whose items cost nothing take turns as well.
    this.#lines.delete(name)
    this.#lines.set(name, next)
    return next
  }

  find(name: string): L | undefined {
    return this.#lines.get(name)
  }

  #forget(): void {
    for (const [name, { size, used }] of this.#lines) {
      if (size === 0 && used <= this.#clock) this.#lines.delete(name)
    }
  }
}

/** The items of one caller; in the order in which they came. */
class CallerLine<T> implements Line {
  readonly items = new Set<T>()
  used = 0

  get size(): number {
    return this.items.size
  }
}

/** The callers that wait on one account. */
class AccountLine<T> implements Line {
  readonly callers = new Turns<CallerLine<T>>()
  used = 0
  size = 0
}

/** On whose account an item is, and for which caller. */
interface Owner {
  readonly name: string
  readonly caller: string
}

/**
 * Items wait for their turn: accounts take turns, and on each account its callers do. So no sender
 * gets more time for having more to do, and no caller of a receiver waits for all that another
 * one has asked of it.
 */
export class FairQueue<T> {
  readonly #accounts = new Turns<AccountLine<T>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  push({ name, caller }: Owner, item: T): void {
    const account = this.#accounts.join(name, () => new AccountLine())
    account.callers.join(caller, () => new CallerLine()).items.add(item)
    account.size += 1
    this.#size += 1
  }

  take(): T | undefined {
    const account = this.#accounts.next()
    const line = account?.callers.next()
    if (account === undefined || line === undefined) return undefined
    for (const item of line.items) {
      line.items.delete(item)
      account.size -= 1
      this.#size -= 1
      return item
    }
    return undefined
  }

  /** Returns whether the item waited until now. */
  remove({ name, caller }: Owner, item: T): boolean {
    const account = this.#accounts.find(name)
    if (account?.callers.find(caller)?.items.delete(item) !== true) return false
    account.size -= 1
    this.#size -= 1
    return true
  }

  charge({ name, caller }: Owner, time: number): void {
    const used = Math.max(0, time)
    const account = this.#accounts.find(name)
    if (account === undefined) return
    account.used += used
    const line = account.callers.find(caller)
    if (line !== undefined) line.used += used
  }

  /** Empties the queue. */
  drain(): readonly T[] {
    const items: T[] = []
    for (let item = this.take(); item !== undefined; item = this.take()) items.push(item)
    return items
  }
}
