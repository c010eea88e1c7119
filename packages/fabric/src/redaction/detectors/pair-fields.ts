import type { Span } from '../text/view.ts'

/** `key = value` in a text, by places in it. */
export interface TextField {
  readonly key: string
  /** Offset of the key, its quote included. */
  readonly start: number
  /** Offset of its value, the quote of a literal included. */
  readonly at: number
  readonly value: Span
  /** Number of brackets that are open there, in addition to those open at the start. */
  readonly depth: number
}

const keyLengthMax = 64
const KEY = /[\w$.\-[\]@%]/
const QUOTE = /["'`]/
const BLANK = /[ \t]/
/** Characters that separate one field from the next, in addition to blanks. */
const DIVIDER = /[\r\n,;&|{}()[\]<>?]/

/**
 * The fields of an excerpt, in order. One pass: a key is read back from its operator, no further
 * than where the field before has begun, and a literal is passed over as a whole. A blank line
 * parts records, so it gives a field without a key.
 */
export function readFields(text: string): readonly TextField[] {
  const fields: (Omit<TextField, 'value'> & { value: Span })[] = []
  let depth = 0
  let open: (typeof fields)[number] | null = null
  const close = (end: number): void => {
    if (open === null) return
    const last = trimmedEnd(text, open.value.start, end)
    open.value = { start: open.value.start, end: last }
    open = null
  }
  let from = 0
  telling.lastIndex = 0
  for (let found = telling.exec(text); found !== null; found = telling.exec(text)) {
    const i = found.index
    const sign = found[0]
    if (sign === '{' || sign === '(') depth++
    else if (sign === '}' || sign === ')') depth--
    if (/[\r\n&]/.test(sign) || (depth < (open?.depth ?? depth) && open !== null)) close(i)
    if (sign === '\n' && /^[ \t\r]*\n/.test(text.slice(i + 1, i + 8))) {
      const value = { start: i, end: i }
      fields.push({ key: '', start: i, at: i, value, depth })
    }
    if (!isOperator(text, i)) continue
    const key = keyBefore(text, i, from)
    if (key === null) continue
    close(key.start)
    let at = i + 1
    while (/[=>]/.test(text.charAt(at))) at++
    while (BLANK.test(text.charAt(at))) at++
    const field = {
      key: key.text,
      start: key.start,
      at,
      value: { start: at, end: at },
      depth,
    }
    fields.push(field)
    open = field
    const literal = literalAt(text, at)
    if (literal !== null) {
      field.value = literal
      open = null
      at = literal.end
    }
    from = at
    telling.lastIndex = at
  }
  close(text.length)
  return fields
}

/** All signs that the loop has to look at. */
const telling = /[{}()\r\n&=:]/g

function isOperator(text: string, at: number): boolean {
  const sign = text.charAt(at)
  if (sign === '=') return true
  return sign === ':' && text.slice(at, at + 3) !== '://'
}

/** The key that ends before the operator at `end`; null where none does. */
function keyBefore(
  text: string,
  end: number,
  from: number,
): { text: string; start: number } | null {
  let at = end
  while (at > from && BLANK.test(text.charAt(at - 1))) at--
  const quote = QUOTE.test(text.charAt(at - 1)) ? text.charAt(at - 1) : ''
  if (quote !== '') {
    at--
    while (at > from && text.charAt(at - 1) === '\\') at--
  }
  const last = at
  while (at > from && last - at < keyLengthMax && KEY.test(text.charAt(at - 1))) at--
  if (at === last) return null
  const key = text.slice(at, last)
  if (quote !== '') {
    if (text.charAt(at - 1) !== quote) return null
    at--
    while (at > from && text.charAt(at - 1) === '\\') at--
  }
  const before = text.charAt(at - 1)
  return at > from && at > 0 && !/[\s,;&|{}()[\]<>?"'`*@-]/.test(before)
    ? null
    : { text: key, start: at }
}

/**
 * The inside of the literal that begins at `at`; null where none does, or none ends in the excerpt.
 */
function literalAt(text: string, at: number): Span | null {
  let start = at
  while (text.charAt(start) === '\\') start++
  const quote = text.charAt(start)
  if (!QUOTE.test(quote)) return null
  const slashes = start - at
  for (let i = start + 1, own = 0; i < text.length; i++) {
    const sign = text.charAt(i)
    if (sign === '\\') {
      own++
      continue
    }
    if (sign === quote && (own <= slashes || (slashes === 0 && own % 2 === 0)))
      return { start: start + 1, end: i - own }
    own = 0
  }
  return null
}

function trimmedEnd(text: string, start: number, given: number): number {
  let end = given
  while (end > start && (DIVIDER.test(text.charAt(end - 1)) || /\s/.test(text.charAt(end - 1))))
    end--
  // The dash of the next element of a list.
  if (end > start + 1 && text.charAt(end - 1) === '-' && /\s/.test(text.charAt(end - 2)))
    return trimmedEnd(text, start, end - 1)
  return end
}
