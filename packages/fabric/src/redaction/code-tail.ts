/** Ends the statement or the list that an expression stands in. */
const CLOSERS: ReadonlySet<string> = new Set(';,:)]}')
/** Begin a comment, or what the expression is combined with: to the end of the line. */
const STARTERS = ['//', '#', '&&', '||', '?', 'or ', 'and ']
const lineEnd = /[\n\r\u2028\u2029]/

/**
 * Where the end of `text` begins that is no part of an expression: closing signs, blanks before them,
 * comments and second operands. Read once, from behind: whether a tail begins at a place depends on
 * the places behind it only, and a pattern that repeats "a comment" would try every way to split one.
 */
export function tailStart(text: string): number {
  let start = text.length
  let isTail = true
  // The last place of this line at which a tail begins: a comment before it runs up to there.
  let reach = text.length
  for (let at = text.length - 1; at >= 0; at--) {
    const sign = text.charAt(at)
    const length = STARTERS.find((each) => text.startsWith(each, at))?.length
    isTail =
      (isTail && (CLOSERS.has(sign) || isBlank(sign))) ||
      (length !== undefined && reach >= at + length)
    if (isTail) start = at
    if (lineEnd.test(sign)) reach = isTail ? at : -1
    else if (isTail && reach < 0) reach = at
  }
  return start
}

/** `text` without the separators and blanks at its end. */
export function withoutSeparators(text: string): string {
  let end = text.length
  while (end > 0 && (';,'.includes(text.charAt(end - 1)) || isBlank(text.charAt(end - 1)))) end--
  return text.slice(0, end)
}

const isBlank = (sign: string): boolean => /\s/.test(sign)
