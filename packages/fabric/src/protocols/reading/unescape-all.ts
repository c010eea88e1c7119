import { entityLettersMax, entityUnits, nothing, unitOf, unitOfName } from './escape-names.ts'

const backslash = 0x5c
const percent = 0x25
const ampersand = 0x26
const semicolon = 0x3b
const hash = 0x23
const openBrace = 0x7b
const closeBrace = 0x7d
const none = -1
const blank = 0x20
/** Longer than any name of a character. */
const nameMax = 64

/**
 * Rules for reading the digits after a backslash. `usual`: up to three octal ones, and two after
 * `x`. `bare-hex`: two hexadecimal ones, as PHP's `S:` strings have them. `decimal` and `css`: as
 * many as there are, of that base, and after `x` and `o` of theirs (Haskell, OCaml; CSS).
 * `three-decimal`: up to three decimal ones, and two after `x` (Lua). `long-hex`: as many as there
 * are after `x`, otherwise `usual` (C). `four-hex`: up to four after `x`, otherwise `usual` (C#).
 * Three octal ones after `o` are an escape in all that do not take more.
 */
export type Dialect =
  | 'usual'
  | 'bare-hex'
  | 'decimal'
  | 'css'
  | 'three-decimal'
  | 'long-hex'
  | 'four-hex'

/**
 * `text` with escapes undone for as long as there are any, whichever notation they are of and in
 * whichever order one stands in another: percent signs, `\u`, `\U`, `\x`, `\N{}`, octal, entities.
 * A receiver undoes fewer of them; what it reads is found in the text as it is, or here. Linear:
 * each step that looks back makes the text shorter, or looks at a fixed number of characters.
 */
export function unescapeAll(text: string, dialect: Dialect = 'usual'): string {
  if (!/[%\\&`]/.test(text)) return text
  const output = new Output(text.length, dialect, null)
  output.take(text)
  return output.toString()
}

/** The sign that begins an escape; a reader undoes the escapes of one family at a time. */
export type Family = 'percent' | 'backslash' | 'entity'

export interface InnerLayers {
  readonly text: string
  /** True if an undone escape is a part of another escape. */
  readonly isLayered: boolean
}

/**
 * `text` with the outermost layer of the escapes of one family undone; what they stand for stays as
 * it is.
 */
export function unescapeOnce(
  text: string,
  family: Family,
  dialect: Dialect = 'usual',
): InnerLayers {
  const output = new Output(text.length, dialect, family)
  output.take(text)
  return { text: output.toString(), isLayered: output.isLayered }
}

/**
 * Added to signs of ASCII that an escape stood for, so that they begin and end none of the same
 * layer.
 */
const madeBase = 0xe000
const isMade = (unit: number): boolean => unit >= madeBase && unit < madeBase + 0x80
const isSign = (unit: number): boolean =>
  unit === percent || unit === backslash || unit === ampersand
/** Offset of a full-width sign from its ASCII sign. */
export const fullWidth = 0xfee0
/** Behind a sign, so far an escape may go on. */
const escapeMax = 10

class Output {
  readonly #units: Uint16Array
  readonly #dialect: Dialect
  /**
   * Position of the digits of an open number whose length its dialect does not bound; -1 if there
   * is none.
   */
  #digits = none
  #base = 10
  #length = 0
  /** Position of the last `&`; -1 if none is open. */
  #entity = none
  /** Positions of each open `\u{`, `\x{`, `\o{` or `\N{`: a decoy must not close a real one. */
  readonly #braces: number[] = []

  isLayered = false
  /** The family whose outermost layer alone is undone; null for all layers of all families. */
  readonly #only: Family | null

  constructor(capacity: number, dialect: Dialect, only: Family | null) {
    this.#units = new Uint16Array(capacity)
    this.#dialect = dialect
    this.#only = only
  }

  take(text: string): void {
    for (let i = 0; i < text.length; i++) this.#put(text.charCodeAt(i))
    // Closes every open escape; the unit itself is not part of the text.
    this.#put(nothing)
    this.#length--
  }

  #put(unit: number): void {
    const isOpen = this.#digits !== none
    // Handles escapes that are complete only now, because they do not continue.
    for (let open = this.#closeBefore(unit); open !== none; ) {
      this.#append(this.#made(open))
      open = this.#closeBefore(unit)
    }
    const isClosed = isOpen && this.#digits === none
    // CSS takes one blank for the end of its number.
    if (isClosed && this.#dialect === 'css' && isBlank(unit) && unit !== 0x2c) return
    this.#append(unit)
  }

  toString(): string {
    const units = this.#units.subarray(0, this.#length)
    if (this.#only !== null) {
      for (let i = 0; i < units.length; i++) {
        const unit = units[i] as number
        if (isMade(unit)) units[i] = unit - madeBase
      }
    }
    return new TextDecoder('utf-16le').decode(units)
  }

  /**
   * Returns the character that an escape stood for. If only one layer is undone, it cannot act as
   * the sign of another escape.
   */
  #made(unit: number): number {
    if (this.#only === null || unit === none) return unit
    if (unit >= 0x80) {
      this.isLayered ||= isSign(unit - fullWidth)
      return unit
    }
    this.isLayered ||= isSign(unit) || this.#followsSign()
    return unit + madeBase
  }

  #followsSign(): boolean {
    for (let back = 1; back <= escapeMax; back++) if (isSign(this.#at(back))) return true
    return false
  }

  #undoes(family: Family): boolean {
    return this.#only === null || this.#only === family
  }

  #append(first: number): void {
    for (let unit = first; unit !== none; unit = this.#made(this.#reduce())) {
      // Any number of backslashes is one: those of a string inside a string.
      if (unit === backslash && this.#at(1) === backslash && this.#undoes('backslash')) {
        // No layer of its own: `unescapeAll` passes over all of them.
        if (this.#only !== null) this.#units[this.#length - 1] = backslash + madeBase
        continue
      }
      // As is any number of `u`, in Java.
      if (unit === 0x75 && this.#at(1) === 0x75 && this.#at(2) === backslash) continue
      if (unit === ampersand && this.#undoes('entity')) this.#entity = this.#length
      if (unit === openBrace && isQuoting(this.#at(2)) && isOpener(this.#at(1))) {
        this.#braces.push(this.#length - 2)
      }
      this.#units[this.#length++] = unit
      if (this.#digits === none) this.#openNumber(unit)
    }
  }

  #openNumber(unit: number): void {
    if (!isGreedy(this.#dialect) || digitOf(unit, 16) === none) return
    if (!this.#undoes('backslash')) return
    let base = this.#dialect === 'css' ? 16 : 10
    if (this.#at(2) === backslash && isLongHex(this.#dialect)) return
    if (this.#at(2) !== backslash) {
      const kind = this.#at(2)
      if (this.#at(3) !== backslash || (kind !== 0x78 && kind !== 0x6f)) return
      if (kind === 0x6f && isLongHex(this.#dialect)) return
      base = kind === 0x78 ? 16 : 8
    }
    if (digitOf(unit, base) === none) return
    this.#digits = this.#length - 1
    this.#base = base
  }

  /** CSS has at most six digits, C# four; all others end at what is not one. */
  #closeNumber(unit: number): number {
    const from = this.#digits
    const isFull = this.#length - from >= digitsMaxOf(this.#dialect)
    if (digitOf(unit, this.#base) !== none && !isFull) return none
    const start = this.#units[from - 1] === backslash ? from - 1 : from - 2
    const value = this.#value(from, this.#length, this.#base)
    this.#digits = none
    return value === none ? none : this.#cut(this.#length - start, unitOf(value))
  }

  /** The unit at `back` places before the end. */
  #at(back: number): number {
    return back > this.#length ? none : (this.#units[this.#length - back] as number)
  }

  #cut(count: number, unit: number): number {
    this.#length -= count
    if (this.#entity >= this.#length) this.#entity = none
    if (this.#digits >= this.#length) this.#digits = none
    while ((this.#braces.at(-1) ?? none) >= this.#length) this.#braces.pop()
    return unit
  }

  /** The character for which the end of the output stands, which is cut off; -1 for none. */
  #reduce(): number {
    const last = this.#at(1)
    if (last === closeBrace && this.#braces.length > 0 && this.#undoes('backslash'))
      return this.#reduceBrace()
    if (last === semicolon && this.#entity !== none) return this.#reduceEntity(1)
    if (last >= 0x80) return this.#reduceUtf8()
    if (digitOf(last, 16) === none) return none
    const isPercent = this.#undoes('percent')
    if (isPercent && this.#at(3) === percent) return this.#reduceHex(2, 3)
    if (isPercent && this.#at(5) === 0x75 && this.#at(6) === percent) return this.#reduceHex(4, 6)
    if (!this.#undoes('backslash')) return none
    if (this.#at(5) === 0x75 && this.#at(6) === backslash) return this.#reduceHex(4, 6)
    if (this.#at(10) === backslash && this.#at(9) === 0x55) return this.#reduceHex(8, 10)
    const isLong = isLongHex(this.#dialect)
    if (isGreedy(this.#dialect) && !isLong) return none
    if (!isLong && this.#at(4) === backslash && this.#at(3) === 0x78) return this.#reduceHex(2, 4)
    if (this.#dialect === 'bare-hex')
      return this.#at(3) === backslash ? this.#reduceHex(2, 3) : none
    if (this.#at(5) === backslash && this.#at(4) === 0x6f) return this.#reduceOctal()
    return this.#at(4) === backslash ? this.#reduceDigits(3) : none
  }

  #reduceOctal(): number {
    const value = this.#number(3, 8)
    return value === none ? none : this.#cut(5, unitOf(value))
  }

  #reduceHex(digits: number, count: number): number {
    const value = this.#number(digits, 16)
    return value === none ? none : this.#cut(count, unitOf(value))
  }

  #reduceDigits(digits: number): number {
    const base = baseOf(this.#dialect)
    if (digits === 3 && base === 8 && this.#at(3) > 0x33) return none
    const value = base === none ? none : this.#number(digits, base)
    return value === none ? none : this.#cut(digits + 1, unitOf(value))
  }

  /**
   * An octal escape of fewer than three digits, or an entity without a semicolon, before `unit`.
   */
  #closeBefore(unit: number): number {
    if (this.#digits !== none) return this.#closeNumber(unit)
    const base = this.#undoes('backslash') ? baseOf(this.#dialect) : none
    if (base !== none && digitOf(unit, base) === none && digitOf(this.#at(1), base) !== none) {
      if (this.#at(2) === backslash) return this.#reduceDigits(1)
      if (this.#at(3) === backslash) return this.#reduceDigits(2)
    }
    const from = this.#entity
    if (from === none || unit === semicolon || this.#units[from + 1] !== hash) return none
    if (from + 2 >= this.#length) return none
    const isHex = ((this.#units[from + 2] ?? 0) | 0x20) === 0x78
    if (isHex && from + 3 >= this.#length) return none
    return digitOf(unit, isHex ? 16 : 10) === none ? this.#reduceEntity(0) : none
  }

  #number(digits: number, base: number): number {
    let value = 0
    for (let back = digits; back >= 1; back--) {
      const digit = digitOf(this.#at(back), base)
      if (digit === none) return none
      value = value * base + digit
    }
    return value
  }

  /** From the last `&`, with `behind` units after the digits. */
  #reduceEntity(behind: number): number {
    const from = this.#entity
    const to = this.#length - behind
    this.#entity = none
    if (this.#units[from + 1] === hash) {
      const isHex = ((this.#units[from + 2] ?? 0) | 0x20) === 0x78
      const value = isHex ? this.#value(from + 3, to, 16) : this.#value(from + 2, to, 10)
      return value === none ? none : this.#cut(this.#length - from, unitOf(value))
    }
    const key = behind === 0 ? none : this.#nameKey(from + 1, to)
    const unit = entityUnits.get(key)
    // `WordMatcher` reads the others both as they are and as nothing.
    return unit === undefined ? none : this.#cut(this.#length - from, unit)
  }

  /** Braces whose content is not an escape keep it: between two decoys stands the text itself. */
  #reduceBrace(): number {
    const from = this.#braces.pop() ?? none
    const to = this.#length - 1
    const kind = this.#units[from + 1]
    if (kind === 0x4e) {
      const unit = unitOfName(this.#text(from + 3, to))
      return unit === none ? none : this.#cut(this.#length - from, unit)
    }
    const values = this.#values(from + 3, to, kind === 0x6f ? 8 : 16)
    const last = values.pop()
    if (last === undefined) return none
    // They replace what they were read from, which is longer.
    values.forEach((value, at) => (this.#units[from + at] = unitOf(value)))
    return this.#cut(this.#length - from - values.length, unitOf(last))
  }

  /**
   * Ruby takes several numbers in one pair of braces, Perl passes over `_` within one. Empty unless
   * there is nothing else.
   */
  #values(from: number, to: number, base: number): number[] {
    const values: number[] = []
    for (let i = from; i < to; i++) {
      if (isBlank(this.#units[i])) continue
      let next = i
      const isPart = (unit: number): boolean => digitOf(unit, base) !== none || unit === 0x5f
      while (next < to && isPart(this.#units[next] as number)) next++
      if (next === i || (next < to && !isBlank(this.#units[next]))) return []
      values.push(this.#value(i, next, base))
      i = next
    }
    return values
  }

  /** Returns the number that these digits form, capped just above the largest valid one. */
  #value(from: number, to: number, base: number): number {
    if (to <= from) return none
    let value = 0
    for (let i = from; i < to; i++) {
      if (this.#units[i] === 0x5f) continue
      const digit = digitOf(this.#units[i] as number, base)
      if (digit === none) return none
      value = Math.min(value * base + digit, 0x11_0000)
    }
    return value
  }

  /** One number for each name of few letters, made without a string; -1 for what is not a name. */
  #nameKey(from: number, to: number): number {
    let key = to > from ? 0 : none
    for (let i = from; i < to; i++) {
      const unit = this.#units[i] as number
      const isLetter = (unit | 0x20) >= 0x61 && (unit | 0x20) <= 0x7a
      if (!isLetter && (i === from || digitOf(unit, 10) === none)) return none
      key = i - from < entityLettersMax ? key * 0x80 + unit : 0
    }
    return key
  }

  /** Short text as it is, and nothing for longer text. */
  #text(from: number, to: number): string {
    return to - from > nameMax ? '' : String.fromCharCode(...this.#units.subarray(from, to))
  }

  /** Bytes above 0x7f that stand for one character of UTF-8. */
  #reduceUtf8(): number {
    for (let count = 2; count <= 4; count++) {
      const lead = this.#at(count)
      const bits = lead >= 0xf0 && lead < 0xf8 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 0
      if (lead > 0xf7 || bits !== count) continue
      let value = lead & (0x7f >> count)
      for (let back = count - 1; back >= 1; back--) {
        const unit = this.#at(back)
        if (unit < 0x80 || unit > 0xbf) return none
        value = value * 64 + (unit & 0x3f)
      }
      return this.#cut(count, unitOf(value))
    }
    return none
  }
}

function isBlank(unit: number | undefined): boolean {
  return unit === blank || unit === 0x09 || unit === 0x0a || unit === 0x0d || unit === 0x2c
}

/** PowerShell has a backtick where others have a backslash. */
function isQuoting(unit: number): boolean {
  return unit === backslash || unit === 0x60
}

function isGreedy(dialect: Dialect): boolean {
  return dialect === 'decimal' || dialect === 'css' || isLongHex(dialect)
}

/** Only what stands behind `x` is longer than usual. */
function isLongHex(dialect: Dialect): boolean {
  return dialect === 'long-hex' || dialect === 'four-hex'
}

function digitsMaxOf(dialect: Dialect): number {
  if (dialect === 'css') return 6
  return dialect === 'four-hex' ? 4 : Number.POSITIVE_INFINITY
}

/**
 * The base of up to three digits behind a backslash; -1 where as many as there are belong to it.
 */
function baseOf(dialect: Dialect): number {
  if (dialect === 'three-decimal') return 10
  return dialect === 'usual' || isLongHex(dialect) ? 8 : none
}

function isOpener(unit: number): boolean {
  return unit === 0x75 || unit === 0x78 || unit === 0x6f || unit === 0x4e
}

function digitOf(unit: number, base: number): number {
  let digit = none
  if (unit >= 0x30 && unit <= 0x39) digit = unit - 0x30
  else if (unit >= 0x41 && unit <= 0x46) digit = unit - 0x37
  else if (unit >= 0x61 && unit <= 0x66) digit = unit - 0x57
  return digit < base ? digit : none
}
