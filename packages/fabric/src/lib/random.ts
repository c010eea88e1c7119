import { randomBytes } from 'node:crypto'

/** The only source of randomness: `count` bytes from a cryptographic generator. */
export type Random = (count: number) => Uint8Array

export const systemRandom: Random = (count) => new Uint8Array(randomBytes(count))
