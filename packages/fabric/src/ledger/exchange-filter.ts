/**
 * A Bloom filter over the keys of one segment. It has no false negatives, so that a segment that it
 * excludes need not be read. With 12 bits and 6 probes for each key, one absent key in 200 passes.
 */
const bitsPerKey = 12
const probes = 6

/** `keys` are uniform 48-bit integers. */
export function encodeFilter(keys: readonly number[]): Uint8Array {
  const filter = new Uint8Array(Math.max(1, Math.ceil((keys.length * bitsPerKey) / 8)))
  for (const key of keys) {
    let at = firstProbe(key)
    for (let probe = 0; probe < probes; probe++, at += probeStep(key)) {
      const bit = at % (filter.length * 8)
      filter[bit >> 3] = (filter[bit >> 3] ?? 0) | (1 << (bit & 7))
    }
  }
  return filter
}

/** Reports whether a segment may have the key; false is certain. */
export function mayHaveKey(filter: Uint8Array, key: number): boolean {
  let at = firstProbe(key)
  for (let probe = 0; probe < probes; probe++, at += probeStep(key)) {
    const bit = at % (filter.length * 8)
    if (((filter[bit >> 3] ?? 0) & (1 << (bit & 7))) === 0) return false
  }
  return true
}

/** Double hashing: the two halves of the key are its two hashes. */
function firstProbe(key: number): number {
  return Math.floor(key / 2 ** 24)
}

/** Odd, and so never 0. */
function probeStep(key: number): number {
  return (key % 2 ** 24) | 1
}
