export interface Percentiles {
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Of latencies in any order, which are left as they are; 0 where there are none. */
export function percentiles(latencies: Iterable<number>): Percentiles {
  const sorted = Float64Array.from(latencies).toSorted()
  const at = (part: number) => sorted[Math.floor(sorted.length * part)] ?? 0
  return { p50Ms: at(0.5), p99Ms: at(0.99) }
}
