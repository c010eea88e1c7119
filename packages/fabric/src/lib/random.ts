import { randomBytes, randomFillSync } from 'node:crypto'

/** The only source of randomness: `count` bytes from a cryptographic generator. */
export type Random = (count: number) => Uint8Array

/** Ids and nonces come from here: a call into the generator costs as much as fifty of them. */
const pool = new Uint8Array(4096)
const pooledMax = 64
let used = pool.length

export const systemRandom: Random = (count) => {
  if (!(count >= 0 && count <= pooledMax)) return new Uint8Array(randomBytes(count))
  if (used + count > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const bytes = pool.slice(used, used + count)
  // An attacker who reads our memory later must not find the bytes that keys and nonces were made
  // of.
  pool.fill(0, used, used + count)
  used += count
  return bytes
}
