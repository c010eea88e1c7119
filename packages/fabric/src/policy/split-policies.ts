/** The text of one policy and where it stands in its file. */
export interface PolicyText {
  readonly text: string
  /** UTF-16 offset of the first character in the whole text. */
  readonly start: number
}

/**
 * Cuts a file at the semicolons that end policies. Elsewhere in Cedar, semicolons occur only in
 * strings and comments. Each piece must still parse as exactly one policy, so that a wrong cut is
 * an error and never another policy. The rest after the last semicolon is a piece as well.
 */
export function splitPolicies(source: string): readonly PolicyText[] {
  const pieces: PolicyText[] = []
  let start = -1
  for (let at = 0; at < source.length; at++) {
    const character = source[at]
    if (character === '/' && source[at + 1] === '/') {
      at = endOfLine(source, at)
      continue
    }
    if (start < 0 && character !== undefined && character.trim() !== '') start = at
    if (character === '"') at = endOfString(source, at)
    if (character === ';') {
      pieces.push({ text: source.slice(start, at + 1), start })
      start = -1
    }
  }
  if (start >= 0) pieces.push({ text: source.slice(start), start })
  return pieces
}

function endOfLine(source: string, from: number): number {
  const end = source.indexOf('\n', from)
  return end < 0 ? source.length : end
}

function endOfString(source: string, from: number): number {
  let at = from + 1
  while (at < source.length && source[at] !== '"') at += source[at] === '\\' ? 2 : 1
  return at
}

/** One-based; columns count UTF-16 code units, as editors do. */
export interface Position {
  readonly line: number
  readonly column: number
}

/**
 * Returns a function from an offset in `source` to its position. It is called once for each policy
 * of the file.
 */
export function positionsIn(source: string): (offset: number) => Position {
  const starts = [0]
  for (let at = source.indexOf('\n'); at >= 0; at = source.indexOf('\n', at + 1)) {
    starts.push(at + 1)
  }
  return (offset) => {
    let [low, high] = [0, starts.length]
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((starts[middle] ?? 0) <= offset) low = middle
      else high = middle
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 }
  }
}
