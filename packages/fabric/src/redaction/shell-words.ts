/** Which quotes are open where a command begins: they end it, and are written otherwise within it. */
export interface Around {
  readonly isSingle: boolean
  readonly isDouble: boolean
}

/** A text behind one layer of quotes, and where each character stood, with one place more for its end. */
export interface Unquoted {
  readonly text: string
  /** Null where each stands where it stood. */
  readonly places: readonly number[] | null
}

/** `'\''` and `'"'"'`: an apostrophe within apostrophes, as programs quote for a shell. */
const APOSTROPHES = [`'\\''`, `'"'"'`] as const

/** What a shell would find in a command that stands in quotes, up to where they end. */
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

/** How long the mark at `at` is that stands for one character; 0 where one ends the command. */
function markLength(given: string, at: number, { isSingle, isDouble }: Around): number {
  const sign = given.charAt(at)
  if (sign === "'" && isSingle)
    return APOSTROPHES.find((each) => given.startsWith(each, at))?.length ?? 0
  if (sign === '"' && isDouble) return 0
  const isEscape = sign === '\\' && isDouble && /["\\$`]/.test(given.charAt(at + 1))
  return sign === '' ? 0 : isEscape ? 2 : 1
}

/** A word as a shell reads it. */
export interface ShellWord {
  /** Without quotes and escapes. */
  readonly text: string
  /** Where each character of the text stands in what was read. */
  readonly places: readonly number[]
  /** Where the quote of each character begins; -1 where it has none. */
  readonly quotes: readonly number[]
  readonly start: number
  readonly end: number
}

/** Reads words of a command one after the other, with what a shell joins to each. */
export class ShellWords {
  readonly #text: string
  /** Whether a quoted part may go on in the next line. */
  readonly #isLong: boolean
  #at: number
  #places: number[] = []
  #quotes: number[] = []
  #value = ''
  /** Whether a quote has no end on its line. */
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
    if (/^(?:[|;]|&&)/.test(this.#text.slice(start, start + 2))) return null
    this.#places = []
    this.#quotes = []
    this.#value = ''
    while (!isEnd(this.#sign)) this.#part()
    const end = this.#at
    if (end === start) return null
    return { text: this.#value, places: this.#places, quotes: this.#quotes, start, end }
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
    if (inner === inSingle) this.#take(from, end, opening)
    else
      for (let at = from; at < end; at++) {
        if (part.charAt(at - from) === '\\') at++
        this.#take(at, at + 1, opening)
      }
    this.#at = end + 1
    return true
  }

  #take(from: number, to: number, quote: number): void {
    this.#value += this.#text.slice(from, to)
    for (let place = from; place < to; place++) {
      this.#places.push(place)
      this.#quotes.push(quote)
    }
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
 * What stands for the characters of a word from one to another, by places in the text: within its quotes
 * where a value begins and ends with the same, with all of them otherwise.
 */
export function rawSpan(
  text: string,
  word: ShellWord,
  { from, to }: { readonly from: number; readonly to: number },
): { readonly start: number; readonly end: number } {
  const { places, quotes } = word
  const first = places[from] ?? word.end
  const opening = quotes[from] ?? -1
  const closing = quotes[to - 1] ?? -1
  const isQuoted = opening >= 0 && closing >= 0 && text[opening] === text[closing]
  // Where the value begins within a quote, that is not its own.
  const isInner = from > 0 && quotes[from - 1] === opening
  const start = opening < 0 || isInner || isQuoted ? first : opening
  const isToEnd = to >= places.length && !isQuoted
  return { start, end: isToEnd ? word.end : (places[to - 1] ?? first) + 1 }
}
