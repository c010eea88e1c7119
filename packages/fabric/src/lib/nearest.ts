/** Longer texts are not misspelt names. */
const lengthMax = 64

/** The one of `known` that `text` was probably meant to be; null where none is close. */
export function nearest(text: string, known: readonly string[]): string | null {
  if (text.length > lengthMax) return null
  const folded = text.toLowerCase()
  let best: string | null = null
  let least = Math.max(1, Math.floor(text.length / 3)) + 1
  for (const each of known) {
    if (each === '' || each.length > lengthMax) continue
    const apart = distance(folded, each.toLowerCase())
    if (apart < least) [best, least] = [each, apart]
  }
  return best
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function distance(a: string, b: string): number {
  let older: readonly number[] = []
  let before = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (before[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = isSwap ? (older[j - 2] ?? 0) + 1 : replaced
      row.push(Math.min(replaced, swapped, (before[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1))
    }
    older = before
    before = row
  }
  return before[b.length] ?? 0
}
