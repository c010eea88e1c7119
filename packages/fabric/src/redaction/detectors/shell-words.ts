/** The quotes that are open where a command begins: they end it, and are escaped within it. */
export interface Around {
  readonly isSingle: boolean
  readonly isDouble: boolean
}

/**
 * A text behind one layer of quotes, and where each character stood, with one place more for its
 * end.
 */
export interface Unquoted {
  readonly text: string
  /** Null where each stands where it stood. */
  readonly places: readonly number[] | null
}

/** `'\''` and `'"'"'`: an apostrophe within apostrophes, as programs quote for a shell. */
const APOSTROPHES = [`'\\''`, `'"'"'`] as const

/** Returns the text that a shell would find in a quoted command, up to the end of its quotes. */
export function unquoted(given: string, { isSingle, isDouble }: Around): Unquoted {
  if (!isSingle && !isDouble) return { text: given, places: null }
  const places: number[] = []
  let text = ''
  let at = 0
  while (at < given.length) {
    unmarked.lastIndex = at
    const run = unmarked.exec(given)?.[0] ?? ''
    text += run
    for (const end = at + run.length; at < end; at++) places.push(at)
    const length = markLength(given, at, { isSingle, isDouble })
    if (length === 0) break
    // Of `'\\''` the apostrophe, of `\\"` the quote.
    text += length === 2 ? given.charAt(at + 1) : given.charAt(at)
    places.push(at)
    at += length
  }
  return { text, places: [...places, at] }
}

const unmarked = /[^'"\\]+/y

/**
 * Returns the length of the mark at `at` that stands for one character; 0 if the command ends
 * there.
 */
function markLength(given: string, at: number, { isSingle, isDouble }: Around): number {
  const sign = given.charAt(at)
  if (sign === "'" && isSingle)
    return APOSTROPHES.find((each) => given.startsWith(each, at))?.length ?? 0
  if (sign === '"' && isDouble) return 0
  const isEscape = sign === '\\' && isDouble && /["\\$`]/.test(given.charAt(at + 1))
  return sign === '' ? 0 : isEscape ? 2 : 1
}

/** A run of characters of a word, as they stand in what was read. */
interface Part {
  /** Offset in the text of the word. */
  readonly at: number
  readonly place: number
  /** Position of its opening quote; -1 if it has none. */
  readonly quote: number
}

/** A word as a shell reads it. */
export interface ShellWord {
  /** Without quotes and escapes. */
  readonly text: string
  readonly parts: readonly Part[]
  readonly end: number
}

function partAt({ parts }: ShellWord, at: number): Part | undefined {
  return parts.findLast((part) => part.at <= at)
}

/** Returns the position of the quote around a character; -1 if it has none. */
export function quoteOf(word: ShellWord, at: number): number {
  return partAt(word, at)?.quote ?? -1
}

/** Reads words of a command one after the other, with what a shell joins to each. */
export class ShellWords {
  readonly #text: string
  /** True if a quoted part may continue on the next line. */
  readonly #isLong: boolean
  #at: number
  #parts: Part[] = []
  #value = ''
  /** True if a quote does not end on its line. */
  isOpen = false

  constructor(text: string, at: number, isLong: boolean) {
    this.#text = text
    this.#at = at
    this.#isLong = isLong
  }

  /** Null at the end of the command. */
  next(): ShellWord | null {
    while (isBlank(this.#sign)) this.#at++
    const start = this.#at
    const sign = this.#sign
    if (sign === '|' || sign === ';' || this.#text.startsWith('&&', start)) return null
    // Most words have no quote.
    plain.lastIndex = start
    const whole = plain.exec(this.#text)?.[0] ?? ''
    if (whole !== '' && isEnd(this.#text.charAt(start + whole.length))) {
      this.#at += whole.length
      return { text: whole, parts: [{ at: 0, place: start, quote: -1 }], end: this.#at }
    }
    this.#parts = []
    this.#value = ''
    while (!isEnd(this.#sign)) this.#part()
    const end = this.#at
    if (end === start) return null
    return { text: this.#value, parts: this.#parts, end }
  }

  get #sign(): string {
    return this.#text.charAt(this.#at)
  }

  /** One quoted part, one escape, one command in `$(…)`, or some characters. */
  #part(): void {
    const start = this.#at
    const text = this.#text
    plain.lastIndex = start
    if (plain.test(text)) return this.#take(start, plain.lastIndex, -1)
    const sign = this.#sign
    const quote = sign === '$' ? text.charAt(start + 1) : sign
    if ((quote === '"' || quote === "'") && this.#quoted(quote, sign === '$')) return
    if (sign === '\\' && !/^[\r\n]?$/.test(text.charAt(start + 1)))
      return this.#take(start + 1, start + 2, -1)
    command.lastIndex = start
    this.#take(start, command.test(text) ? command.lastIndex : start + 1, -1)
  }

  /** Reads to where the quote ends; does nothing where it does not. */
  #quoted(sign: string, isDollar: boolean): boolean {
    const opening = this.#at
    const from = opening + (isDollar ? 2 : 1)
    const inner = sign === '"' ? inDouble : isDollar ? inDollar : inSingle
    inner.lastIndex = from
    const part = inner.exec(this.#text)?.[0] ?? ''
    const end = from + part.length
    if (this.#text.charAt(end) !== sign || (!this.#isLong && /[\r\n]/.test(part))) {
      this.isOpen = true
      return false
    }
    let at = from
    for (let slash = part.indexOf('\\'); slash >= 0 && inner !== inSingle; ) {
      this.#take(at, from + slash, opening)
      at = from + slash + 1
      slash = part.indexOf('\\', slash + 2)
    }
    this.#take(at, end, opening)
    this.#at = end + 1
    return true
  }

  #take(from: number, to: number, quote: number): void {
    if (to > from) this.#parts.push({ at: this.#value.length, place: from, quote })
    this.#value += this.#text.slice(from, to)
    this.#at = to
  }
}

const plain = /[^\s"'\\$]+/y
const command = /\$\([^)\r\n"'`]*\)/y
const inSingle = /[^']*/y
const inDouble = /(?:[^"\\]|\\[^])*/y
const inDollar = /(?:[^'\\]|\\[^])*/y
const isBlank = (sign: string): boolean => sign === ' ' || sign === '\t'
const isEnd = (sign: string): boolean =>
  sign === '' || sign === '\n' || sign === '\r' || isBlank(sign)

/**
 * Returns the raw text for the characters of a word from `from` up to `to`, as positions in the
 * text: within its quotes if the value begins and ends in the same ones, otherwise with all of
 * them.
 */
export function rawSpan(
  text: string,
  word: ShellWord,
  { from, to }: { readonly from: number; readonly to: number },
): { readonly start: number; readonly end: number } {
  const placeOf = (at: number): number => {
    const part = partAt(word, at)
    return part === undefined ? word.end : part.place + at - part.at
  }
  const opening = quoteOf(word, from)
  const closing = to > from ? quoteOf(word, to - 1) : -1
  const isQuoted = opening >= 0 && closing >= 0 && text[opening] === text[closing]
  // If the value begins inside a quote, that quote is not its own.
  const isInner = from > 0 && quoteOf(word, from - 1) === opening
  const start = opening < 0 || isInner || isQuoted ? placeOf(from) : opening
  const isToEnd = to >= word.text.length && !isQuoted
  return { start, end: isToEnd ? word.end : placeOf(to - 1) + 1 }
}
