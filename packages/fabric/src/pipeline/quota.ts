/** What is left of a caller's allowance on one route, for the `RateLimit` field of the response. */
export interface Quota {
  readonly limit: number
  readonly remaining: number
  readonly resetMs: number
  readonly exhausted: boolean
}

/** Counts what each caller spends on each receiver. Rejects when it cannot tell: that means no. */
export interface RateLimits {
  spend(caller: string, receiver: string): Promise<Quota>
}
