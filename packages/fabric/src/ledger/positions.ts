import type { Pace } from './read-turns.ts'

/** Positions or indexes of entries, in ascending order, each once. */
export type Positions = readonly number[]

/**
 * Positions that one key of every list has; null without a list. Ends at the first list that leaves
 * none, and takes each key at its pace.
 */
export async function inAll(
  lists: readonly (readonly number[])[],
  pace: Pace,
  find: (key: number) => Promise<Positions> | Positions,
): Promise<Positions | null> {
  let found: Positions | null = null
  for (const keys of lists) {
    let alternatives: Positions = []
    for (const key of keys) {
      const turn = pace()
      if (turn !== null) await turn
      alternatives = inEither(alternatives, await find(key))
    }
    found = found === null ? alternatives : inBoth(found, alternatives)
    if (found.length === 0) break
  }
  return found
}

export function inEither(a: Positions, b: Positions): Positions {
  if (a.length === 0) return b
  if (b.length === 0) return a
  const found: number[] = []
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const [left = Number.POSITIVE_INFINITY, right = Number.POSITIVE_INFINITY] = [a[i], b[j]]
    found.push(Math.min(left, right))
    if (left <= right) i++
    if (right <= left) j++
  }
  return found
}

function inBoth(a: Positions, b: Positions): Positions {
  const found: number[] = []
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const [left = 0, right = 0] = [a[i], b[j]]
    if (left === right) found.push(left)
    if (left <= right) i++
    if (right <= left) j++
  }
  return found
}
