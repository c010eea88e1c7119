import { asList, textIn } from './cedar-json.ts'

/**
 * Cedar's `like`: literal pieces with `*` between them. Each piece is taken at its first place,
 * which is right for wildcards and keeps the search free of backtracking.
 */
export function compilePattern(pattern: unknown): (text: string) => boolean {
  const pieces = ['']
  for (const element of asList(pattern)) {
    if (element === 'Wildcard') pieces.push('')
    else pieces[pieces.length - 1] += textIn(element, 'Literal')
  }
  const [first = '', ...rest] = pieces
  const last = rest.pop()
  if (last === undefined) return (text) => text === first
  const middle = rest.filter((piece) => piece !== '')
  return (text) => {
    if (text.length < first.length + last.length) return false
    if (!text.startsWith(first) || !text.endsWith(last)) return false
    const end = text.length - last.length
    let at = first.length
    for (const piece of middle) {
      const found = text.indexOf(piece, at)
      if (found < 0 || found + piece.length > end) return false
      at = found + piece.length
    }
    return true
  }
}

/** A pattern in Cedar's own spelling, for explanations. */
export function formatPattern(pattern: unknown): string {
  const body = asList(pattern).map((element) => {
    if (element === 'Wildcard') return '*'
    const text = textIn(element, 'Literal')
    return JSON.stringify(text).slice(1, -1).replaceAll('*', '\\*')
  })
  return `"${body.join('')}"`
}
