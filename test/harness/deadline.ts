/**
 * Time that `vi.waitFor` waits for a sign of what has to happen; `expect.poll` waits as long by
 * vitest.config.ts. A machine that is many times slower than ours gets there as well, and a test
 * fails by what did not happen and not by its own end.
 */
export const deadline = { timeout: 60_000, interval: 20 } as const
