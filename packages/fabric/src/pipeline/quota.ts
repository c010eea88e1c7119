import type { PrincipalKey } from '@countersign/protocol'

/** The rest of a caller's allowance on one route, for the `RateLimit` field of the response. */
export interface Quota {
  readonly limit: number
  readonly remaining: number
  readonly resetMs: number
  readonly exhausted: boolean
}

/**
 * Counts the requests of each caller to each receiver. Rejects when it cannot decide, which means a
 * denial.
 */
export interface RateLimits {
  spend(caller: PrincipalKey, receiver: string): Promise<Quota>
}

/** Counts the attempts of unauthenticated clients, by the network of their address. */
export interface UnauthenticatedLimits {
  /** False once the address has used up its allowance. */
  admits(address: string): boolean
  count(address: string): void
}
