import { Shares } from '../../lib/limits.ts'
import type { Dispatched } from './dispatched.ts'

/** The requests of one endpoint that have a connection, and those that wait for one. */
interface Line {
  readonly shares: Shares
  /** By owner, the one that began last behind the others. */
  readonly waiting: Map<string, Set<() => void>>
  /** One that fails as it begins is over within the loop that began it. */
  isBeginning: boolean
}

/**
 * Connections over HTTP/1.1 at each endpoint, of which a request has one to itself until its
 * response has ended: an event stream for an hour. One owner gets at most as many as are left for
 * others, and its further requests wait, so that those of another owner go before them.
 */
export class ConnectionPlaces {
  readonly #max: number
  readonly #lines = new Map<string, Line>()

  constructor(max: number) {
    this.#max = max
  }

  /**
   * Calls `begin` once there is a place for `dispatched`, which gives it back when it is over. A
   * request that is over before that never begins. `begin` does not throw.
   */
  enter(endpoint: string, owner: string, dispatched: Dispatched, begin: () => void): void {
    if (dispatched.isOver) return
    const line = this.#lines.get(endpoint) ?? emptyLine(this.#max)
    this.#lines.set(endpoint, line)
    const waiting = line.waiting.get(owner) ?? new Set()
    const take = (): void => {
      line.shares.take(owner)
      dispatched.onOver(() => {
        line.shares.give(owner)
        this.#next(endpoint, line)
      })
      begin()
    }
    if (waiting.size === 0 && line.shares.hasSpace(owner)) return take()
    waiting.add(take)
    line.waiting.set(owner, waiting)
    dispatched.onOver(() => {
      waiting.delete(take)
      if (waiting.size === 0 && line.waiting.get(owner) === waiting) line.waiting.delete(owner)
    })
  }

  #next(endpoint: string, line: Line): void {
    if (line.isBeginning) return
    line.isBeginning = true
    for (let take = chosen(line); take !== null; take = chosen(line)) take()
    line.isBeginning = false
    if (line.shares.total === 0 && line.waiting.size === 0) this.#lines.delete(endpoint)
  }
}

function emptyLine(max: number): Line {
  return { shares: new Shares(max), waiting: new Map(), isBeginning: false }
}

/**
 * Removes and returns the next request of an owner that may have one more place; null without one.
 * The loop is bounded: while places are left, an owner waits only if it has places itself, so that
 * at most as many owners wait as places exist.
 */
function chosen({ shares, waiting }: Line): (() => void) | null {
  if (shares.share <= 0) return null
  for (const [owner, all] of waiting) {
    if (!shares.hasSpace(owner)) continue
    for (const take of all) {
      all.delete(take)
      waiting.delete(owner)
      if (all.size > 0) waiting.set(owner, all)
      return take
    }
  }
  return null
}
