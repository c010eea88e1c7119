import { freeWork, STEPS, type Work } from './reading-steps.ts'

const backslash = 0x5c
const percent = 0x25
const ampersand = 0x26
const semicolon = 0x3b
const hash = 0x23
const openBrace = 0x7b
const closeBrace = 0x7d
const slash = 0x2f
const none = -1
const blank = 0x20
/** Stands for what is decoded to nothing that a reader would take for a letter, and may be none at all. */
const nothing = 0x01
/** Longer than any name of a character, and as long as those of `named` may be. */
const nameMax = 64
const namedMax = 7

/**
 * How the digits behind a backslash are read. `usual`: up to three octal ones, and two behind `x`.
 * `bare-hex`: two hexadecimal ones, as PHP's `S:` strings have them. `decimal` and `css`: as many as
 * there are, of that base, and behind `x` and `o` of theirs (Lua, Haskell, OCaml; CSS, C).
 */
export type Dialect = 'usual' | 'bare-hex' | 'decimal' | 'css'

/**
 * `text` with escapes undone for as long as there are any, whichever notation they are of and in
 * whichever order one stands in another: percent signs, `\u`, `\U`, `\x`, `\N{}`, octal, entities.
 * A receiver undoes fewer of them; what it reads is found in the text as it is, or here. Linear:
 * each step that looks back makes the text shorter, or looks at a fixed number of characters.
 */
export function unescapeAll(text: string, dialect: Dialect = 'usual'): string {
  if (!/[%\\&`]/.test(text)) return text
  const output = new Output(text.length, dialect)
  for (let i = 0; i < text.length; i++) output.put(text.charCodeAt(i))
  output.end()
  return output.toString()
}

/**
 * `text` as each reader may take it: as it is, and with escapes undone in each dialect of which it
 * has any. What stands in none of these is not there for a reader of the notations that are promised.
 */
export function* readingsOf(text: string, work: Work = freeWork): Generator<string> {
  yield text
  const narrow = /[\uff01-\uff5e]/.test(text) ? narrowed(text) : text
  if (narrow !== text) yield narrow
  if (!/[%\\&`]/.test(narrow)) return
  const undo = (dialect?: Dialect): string => {
    work.spend(text.length * STEPS.layerByte)
    return unescapeAll(narrow, dialect)
  }
  const plain = undo()
  if (plain !== text) yield plain
  if (/\bS:[0-9]/.test(plain)) yield undo('bare-hex')
  // A backslash before a digit, or something that another layer may turn into a backslash.
  if (!/\\[xo]?[0-9a-f]|%(?:25|5c)|&(?:#|amp|bsol|percnt)|[\\%]u(?:005c|\{)/i.test(narrow)) return
  const given = [text, plain]
  for (const dialect of ['decimal', 'css'] as const) {
    const reading = undo(dialect)
    if (!given.includes(reading)) yield reading
    given.push(reading)
  }
}

/** Full-width signs as those of ASCII: a reader that folds them first finds escapes among them. */
function narrowed(text: string): string {
  return text.replaceAll(/[\uff01-\uff5e]/g, (wide) =>
    String.fromCharCode(wide.charCodeAt(0) - 0xfee0),
  )
}

class Output {
  readonly #units: Uint16Array
  readonly #dialect: Dialect
  /** Where the digits of an open number stand, which its dialect does not bound; -1 for none. */
  #digits = none
  #base = 10
  #length = 0
  /** Where the last `&` stands; -1 where none is open. */
  #entity = none
  /** Where each open `\u{`, `\x{`, `\o{` or `\N{` stands: a decoy must not close a real one. */
  readonly #braces: number[] = []

  constructor(capacity: number, dialect: Dialect) {
    this.#units = new Uint16Array(capacity)
    this.#dialect = dialect
  }

  put(unit: number): void {
    const isOpen = this.#digits !== none
    // What is complete only now that it does not go on.
    for (let open = this.#closeBefore(unit); open !== none; ) {
      this.#append(open)
      open = this.#closeBefore(unit)
    }
    const isClosed = isOpen && this.#digits === none
    // CSS takes one blank for the end of its number.
    if (isClosed && this.#dialect === 'css' && isBlank(unit) && unit !== 0x2c) return
    this.#append(unit)
  }

  end(): void {
    // Closes what is open, and is no part of the text.
    this.put(nothing)
    this.#length--
  }

  toString(): string {
    return new TextDecoder('utf-16le').decode(this.#units.subarray(0, this.#length))
  }

  #append(first: number): void {
    for (let unit = first; unit !== none; unit = this.#reduce()) {
      // Any number of backslashes is one: those of a string inside a string.
      if (unit === backslash && this.#at(1) === backslash) continue
      // As is any number of `u`, in Java.
      if (unit === 0x75 && this.#at(1) === 0x75 && this.#at(2) === backslash) continue
      if (unit === ampersand) this.#entity = this.#length
      if (unit === openBrace && isQuoting(this.#at(2)) && isOpener(this.#at(1))) {
        this.#braces.push(this.#length - 2)
      }
      this.#units[this.#length++] = unit
      if (this.#digits === none) this.#openNumber(unit)
    }
  }

  #openNumber(unit: number): void {
    if (!isGreedy(this.#dialect) || digitOf(unit, 16) === none) return
    let base = this.#dialect === 'css' ? 16 : 10
    if (this.#at(2) !== backslash) {
      const kind = this.#at(2)
      if (this.#at(3) !== backslash || (kind !== 0x78 && kind !== 0x6f)) return
      base = kind === 0x78 ? 16 : 8
    }
    if (digitOf(unit, base) === none) return
    this.#digits = this.#length - 1
    this.#base = base
  }

  /** CSS has at most six digits; all others end at what is not one. */
  #closeNumber(unit: number): number {
    const from = this.#digits
    const isFull = this.#dialect === 'css' && this.#length - from >= 6
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
    if (last === closeBrace && this.#braces.length > 0) return this.#reduceBrace()
    if (last === semicolon && this.#entity !== none) return this.#reduceEntity(1)
    if (last >= 0x80) return this.#reduceUtf8()
    if (digitOf(last, 16) === none) return none
    if (this.#at(3) === percent) return this.#reduceHex(2, 3)
    if (this.#at(5) === 0x75) {
      const six = this.#at(6)
      if (six === backslash || six === percent) return this.#reduceHex(4, 6)
    }
    if (this.#at(10) === backslash && this.#at(9) === 0x55) return this.#reduceHex(8, 10)
    if (isGreedy(this.#dialect)) return none
    if (this.#at(4) === backslash && this.#at(3) === 0x78) return this.#reduceHex(2, 4)
    if (this.#dialect === 'bare-hex')
      return this.#at(3) === backslash ? this.#reduceHex(2, 3) : none
    return this.#at(4) === backslash ? this.#reduceOctal(3) : none
  }

  #reduceHex(digits: number, count: number): number {
    const value = this.#number(digits, 16)
    return value === none ? none : this.#cut(count, unitOf(value))
  }

  #reduceOctal(digits: number): number {
    if (digits === 3 && this.#at(3) > 0x33) return none
    const value = this.#number(digits, 8)
    return value === none ? none : this.#cut(digits + 1, unitOf(value))
  }

  /** An octal escape of fewer than three digits, or an entity without a semicolon, before `unit`. */
  #closeBefore(unit: number): number {
    if (this.#digits !== none) return this.#closeNumber(unit)
    const isOctal = this.#dialect === 'usual'
    if (isOctal && digitOf(unit, 8) === none && digitOf(this.#at(1), 8) !== none) {
      if (this.#at(2) === backslash) return this.#reduceOctal(1)
      if (this.#at(3) === backslash) return this.#reduceOctal(2)
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
    const unit = named.get(key)
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

  /** Ruby takes several numbers in one pair of braces. Empty unless there is nothing else. */
  #values(from: number, to: number, base: number): number[] {
    const values: number[] = []
    for (let i = from; i < to; i++) {
      if (isBlank(this.#units[i])) continue
      let next = i
      while (next < to && digitOf(this.#units[next] as number, base) !== none) next++
      if (next === i || (next < to && !isBlank(this.#units[next]))) return []
      values.push(this.#value(i, next, base))
      i = next
    }
    return values
  }

  /** The number that these digits are, no greater than needed to tell that it is too great. */
  #value(from: number, to: number, base: number): number {
    if (to <= from) return none
    let value = 0
    for (let i = from; i < to; i++) {
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
      key = i - from < namedMax ? key * 0x80 + unit : 0
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

const named: ReadonlyMap<number, number> = new Map(
  Object.entries({
    amp: '&',
    bsol: '\\',
    colon: ':',
    equals: '=',
    num: '#',
    percnt: '%',
    semi: ';',
    sol: '/',
  }).map(([name, character]) => [keyOf(name), character.charCodeAt(0)]),
)

function keyOf(name: string): number {
  return Array.from(name).reduce((key, letter) => key * 0x80 + letter.charCodeAt(0), 0)
}

/** Python's names of characters, as far as the words of a call have them; -1 for other text. */
function unitOfName(name: string): number {
  const words = name.trim().toUpperCase()
  const letter = /^[A-Z -]*(?:SMALL|CAPITAL) (?:LETTER )?([A-Z])$/.exec(words)?.[1]
  if (letter !== undefined) return letter.toLowerCase().charCodeAt(0)
  if (/^U\+[0-9A-F]+$/.test(words)) return unitOf(Number.parseInt(words.slice(2), 16))
  if (words.endsWith('SMALL LETTER LONG S')) return 0x73
  if (words === 'KELVIN SIGN') return 0x6b
  if (/^(?:FULLWIDTH )?(?:SOLIDUS|SLASH)$/.test(words)) return slash
  return unseenName.test(words) ? nothing : none
}

/** The names of what shows nothing, or stands between words. */
const unseenName =
  /^[A-Z0-9 -]*(?:SPACE|JOINER|NON-JOINER|HYPHEN|MARK|SELECTOR-[0-9]+|SEPARATOR|TABULATION|FEED|RETURN|NULL|APPLICATION|DIGIT [A-Z]+)$/

/** Above the basic plane there are letters of one more alphabet only: those of mathematics. */
function unitOf(value: number): number {
  if (value < 0x10000) return value
  return value >= 0x1d400 && value <= 0x1d6a3 ? mathLetter(value) : nothing
}

function mathLetter(value: number): number {
  return String.fromCodePoint(value).normalize('NFKC').charCodeAt(0)
}

function isBlank(unit: number | undefined): boolean {
  return unit === blank || unit === 0x09 || unit === 0x0a || unit === 0x0d || unit === 0x2c
}

/** PowerShell has a backtick where others have a backslash. */
function isQuoting(unit: number): boolean {
  return unit === backslash || unit === 0x60
}

function isGreedy(dialect: Dialect): boolean {
  return dialect === 'decimal' || dialect === 'css'
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
