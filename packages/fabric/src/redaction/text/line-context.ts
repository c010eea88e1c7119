/** Quotes of one line: the sign, and how many backslashes stand before it. */
export interface Quote {
  readonly sign: number
  readonly backslashes: number
}

const openDeepMax = 32
/** Of a line that begins further before a place than this, nothing is taken to be open there. */
const lineBytesMax = 1_024

/** `"`, `'`, `` ` `` */
export const isQuoteSign = (byte: number | undefined): boolean =>
  byte === 0x22 || byte === 0x27 || byte === 0x60

export const isLineEnd = (byte: number | undefined): boolean => byte === 0x0a || byte === 0x0d

const CLOSES: ReadonlyMap<number, number> = new Map([
  [0x29, 0x28],
  [0x5d, 0x5b],
  [0x7d, 0x7b],
])
export const openerOf = (byte: number): number | undefined => CLOSES.get(byte)
export const isOpener = (byte: number): boolean => byte === 0x28 || byte === 0x5b || byte === 0x7b

/**
 * Tracks the quotes and brackets that are open at a position of its line. Only ever moves forward,
 * so that all calls together read each byte once.
 */
export class LineContext {
  readonly #bytes: Uint8Array
  readonly #from: number
  #at: number
  #quotes: Quote[] = []
  #brackets: number[] = []
  #hasTag = false

  constructor(bytes: Uint8Array, from: number) {
    this.#bytes = bytes
    this.#from = from
    this.#at = from
  }

  moveTo(at: number): this {
    const bytes = this.#bytes
    let backslashes = 0
    for (; this.#at < at; this.#at++) {
      const byte = bytes[this.#at] as number
      if (byte === 0x5c) {
        backslashes++
        continue
      }
      if (isLineEnd(byte)) {
        this.#quotes = []
        this.#brackets = []
        this.#hasTag = false
      } else if (isQuoteSign(byte)) this.#quote({ sign: byte, backslashes })
      else if (byte === 0x3c) this.#hasTag = true
      else this.#bracket(byte)
      backslashes = 0
    }
    return this
  }

  /**
   * Returns the context at another position, of this line or of another one near by; this one does
   * not move.
   */
  elsewhere(at: number): LineContext {
    if (at >= this.#at && this.#lineOf(this.#at, at) < 0) {
      const same = new LineContext(this.#bytes, this.#at)
      same.#quotes = [...this.#quotes]
      same.#brackets = [...this.#brackets]
      same.#hasTag = this.#hasTag
      return same.moveTo(at)
    }
    const first = Math.max(this.#from, at - lineBytesMax)
    const line = this.#lineOf(first, at)
    const start = line >= 0 ? line : first === this.#from ? first : at
    return new LineContext(this.#bytes, start).moveTo(at)
  }

  /** Returns the start of the line of `to`, if that is behind `from`; -1 otherwise. */
  #lineOf(from: number, to: number): number {
    for (let i = to; i > from; i--) if (isLineEnd(this.#bytes[i - 1])) return i
    return -1
  }

  /** Reports whether this quote closes one that was opened before. */
  closes({ sign, backslashes }: Quote): boolean {
    return this.#quotes.some((open) => open.sign === sign && open.backslashes === backslashes)
  }

  /**
   * Goes on at `behind`, past a quote that closes: what it opened, and what was opened in it, is
   * closed.
   */
  close({ sign, backslashes }: Quote, behind: number): void {
    const at = this.#quotes.findIndex(
      (open) => open.sign === sign && open.backslashes === backslashes,
    )
    if (at >= 0) this.#quotes.length = at
    this.#at = Math.max(this.#at, behind)
  }

  closesBracket(byte: number): boolean {
    const opener = CLOSES.get(byte)
    return opener !== undefined && this.#brackets.includes(opener)
  }

  get isQuoted(): boolean {
    return this.#quotes.length > 0
  }

  get hasTag(): boolean {
    return this.#hasTag
  }

  #quote(quote: Quote): void {
    const at = this.#quotes.findIndex(
      ({ sign, backslashes }) => sign === quote.sign && backslashes === quote.backslashes,
    )
    if (at >= 0) {
      this.#quotes.length = at
      return
    }
    // An apostrophe in a word opens nothing.
    const before = this.#bytes[this.#at - 1 - quote.backslashes]
    const isApostrophe = quote.sign === 0x27 && before !== undefined && isLetter(before)
    if (!isApostrophe && this.#quotes.length < openDeepMax) this.#quotes.push(quote)
  }

  #bracket(byte: number): void {
    if (isOpener(byte)) {
      if (this.#brackets.length < openDeepMax) this.#brackets.push(byte)
      return
    }
    const opener = CLOSES.get(byte)
    if (opener === undefined) return
    const at = this.#brackets.lastIndexOf(opener)
    if (at >= 0) this.#brackets.length = at
  }
}

function isLetter(byte: number): boolean {
  return (
    byte >= 0x80 ||
    (byte >= 0x30 && byte <= 0x39) ||
    ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a)
  )
}
