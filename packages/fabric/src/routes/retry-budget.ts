import type { RouteRetries } from '@countersign/protocol'

interface Count {
  requests: number
  repeats: number
}

/**
 * Bounds the repeats that a route has under way, so that a receiver that fails is not sent several
 * times the load. An attempt after which nothing was sent is none of them.
 */
export class RetryBudget {
  /** A route without a request under way has no row. */
  readonly #counts = new Map<string, Count>()

  began(route: string): void {
    const count = this.#counts.get(route) ?? { requests: 0, repeats: 0 }
    count.requests += 1
    this.#counts.set(route, count)
  }

  ended(route: string): void {
    const count = this.#counts.get(route)
    if (count === undefined) return
    count.requests -= 1
    if (count.requests <= 0) this.#counts.delete(route)
  }

  /** Returns false where the budget is used up; otherwise, `give` returns what was taken. */
  take(route: string, { budgetPercent, budgetMin }: RouteRetries): boolean {
    const count = this.#counts.get(route)
    if (count === undefined) return false
    const allowed = Math.max(budgetMin, Math.floor((count.requests * budgetPercent) / 100))
    if (count.repeats >= allowed) return false
    count.repeats += 1
    return true
  }

  give(route: string): void {
    const count = this.#counts.get(route)
    if (count !== undefined) count.repeats -= 1
  }
}
