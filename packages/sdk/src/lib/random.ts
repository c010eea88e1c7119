import { randomBytes, randomInt } from 'node:crypto'

/** The only source of randomness in the SDK: `count` bytes from a cryptographic generator. */
export const systemRandom = (count: number): Uint8Array => new Uint8Array(randomBytes(count))

/** A whole number from 0 up to, and without, `limit`: for jitter. */
export const randomBelow = (limit: number): number => randomInt(limit)
