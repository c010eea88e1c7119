/** Classes for each doubling: a quantile is at most a fifth above the true one. */
const perDoubling = 4
/** Up to 2^20 ms, which are 17 minutes; longer ones are in the last class. */
const classesMax = 20 * perDoubling + 1

/**
 * Counts a latency (ms, not negative) in its class. Class 0 is below 1 ms; each further one ends at
 * the fourth root of two times the end of the one before. `counts` grows up to the class.
 */
export function countLatency(counts: number[], ms: number): void {
  const at = ms < 1 ? 0 : Math.min(classesMax - 1, 1 + Math.floor(Math.log2(ms) * perDoubling))
  while (counts.length <= at) counts.push(0)
  counts[at] = (counts[at] ?? 0) + 1
}

export function addLatencies(sum: number[], counts: readonly number[]): void {
  while (sum.length < counts.length) sum.push(0)
  for (const [at, count] of counts.entries()) sum[at] = (sum[at] ?? 0) + count
}

/**
 * The latency (whole ms, rounded up) that the share `quantile` of those counted does not exceed,
 * and never more than the longest one. 0 where none was counted.
 */
export function quantileOf(counts: readonly number[], quantile: number, longestMs: number): number {
  const total = counts.reduce((sum, count) => sum + count, 0)
  let left = Math.max(1, Math.ceil(total * quantile))
  for (const [at, count] of counts.entries()) {
    left -= count
    if (left <= 0) return Math.min(longestMs, Math.ceil(2 ** (at / perDoubling)))
  }
  return total === 0 ? 0 : longestMs
}
