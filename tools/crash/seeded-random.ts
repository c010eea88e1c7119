/** The same numbers for the same seed, so that a round that lost something can be played again. */
export interface SeededRandom {
  /** From 0, below 1. */
  next(): number
  /** A whole number, both ends included. */
  between(min: number, max: number): number
  chance(share: number): boolean
}

/** Mulberry32: small, and random enough to choose moments by. */
export function createSeededRandom(seed: number): SeededRandom {
  let state = seed | 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  return {
    next,
    between: (min, max) => min + Math.floor(next() * (max - min + 1)),
    chance: (share) => next() < share,
  }
}
