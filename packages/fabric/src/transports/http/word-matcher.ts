import { asciiOf } from '../../pipeline/fold-character.ts'

/** Words to find, by name. See `WordMatcher` for their notation. */
export type Words<Name extends string> = Readonly<Record<Name, readonly string[]>>

const wordBits = 32
/** Letters, digits, then the marks that a pattern may ask for. */
const symbols = 'abcdefghijklmnopqrstuvwxyz0123456789/:*&< '
const firstMark = 36
const marksThatBegin: ReadonlySet<number> = new Set(
  Array.from(':&<', (one) => symbols.indexOf(one)),
)
const classes = symbols.length

const unread = 0xff
const classOf = new Uint8Array(128).fill(unread)
for (let i = 0; i < classes; i++) classOf[symbols.charCodeAt(i)] = i
for (let i = 0; i < 26; i++) classOf[0x41 + i] = i
for (const blank of '\t\n\v\f\r') classOf[blank.charCodeAt(0)] = symbols.indexOf(' ')
classOf[0x3d] = symbols.indexOf(':')

const lineEnds: ReadonlySet<number> = new Set([0x0a, 0x0d, 0x85, 0x2028, 0x2029])
/** Tags, anchors, aliases and block indicators of YAML: what follows goes up to a blank. */
const tagMarks: ReadonlySet<number> = new Set([0x21, 0x26, 0x2a, 0x7c, 0x3e])
/** Rust begins a raw string with `r#`. */
const quotes: ReadonlySet<number> = new Set([0x22, 0x27, 0x60, 0x23])
/** `b'…'`, `rb"…"`, `u8"…"`. */
const prefixMax = 3

/**
 * Finds words in text whatever stands between their letters: blanks, quotes, operators, line ends,
 * marks. Only letters and digits keep letters apart, unless they stand where some notation would not
 * read them: in a comment, in the prefix of a string, behind a backslash. Of each of these both
 * readings are followed, independent of all others.
 *
 * A pattern consists of letters and digits, which must follow one another, and of marks, of which one
 * must stand between them: `/`, `:` (or `=`), `*`, `&`, `<`, a blank. It begins with `^` when nothing but a
 * new word will do, and with `~` when YAML's tags and brackets may stand inside as well.
 *
 * All patterns are followed at once, one bit for each of their letters (Baeza-Yates and Gonnet's
 * shift-and): time is the length of the text times a constant, whatever the text.
 */
export class WordMatcher<Name extends string> {
  readonly #words: number
  readonly #steps: Int32Array
  readonly #starts: Int32Array
  readonly #anyStarts: Int32Array
  readonly #ends: Int32Array
  readonly #tagged: Int32Array
  readonly #named: readonly (readonly [name: Name, word: number, bit: number])[]

  constructor(words: Words<Name>) {
    const patterns = Object.entries<readonly string[]>(words).flatMap(([name, all]) =>
      all.map((pattern) => ({ name: name as Name, ...parsePattern(pattern) })),
    )
    const places = pack(patterns.map(({ letters }) => letters.length))
    this.#words = Math.max(...places.map(({ word }) => word)) + 1
    this.#steps = new Int32Array(classes * this.#words)
    this.#starts = new Int32Array(this.#words)
    this.#anyStarts = new Int32Array(this.#words)
    this.#ends = new Int32Array(this.#words)
    this.#tagged = new Int32Array(this.#words)
    this.#named = patterns.map(({ name, letters, isBound, isTagged }, i) => {
      const { word, bit } = places[i] as Place
      letters.forEach((letter, at) => {
        setBit(this.#steps, letter * this.#words + word, bit + at)
        if (isTagged) setBit(this.#tagged, word, bit + at)
      })
      setBit(this.#anyStarts, word, bit)
      if (!isBound) setBit(this.#starts, word, bit)
      const end = bit + letters.length - 1
      setBit(this.#ends, word, end)
      return [name, word, end] as const
    })
  }

  /** The names of all words that stand in `text`. */
  find(text: string): ReadonlySet<Name> {
    const run = new Run({
      words: this.#words,
      steps: this.#steps,
      starts: this.#starts,
      anyStarts: this.#anyStarts,
      ends: this.#ends,
      tagged: this.#tagged,
    })
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      if (unit < 0x80) run.put(unit)
      else {
        const codePoint = text.codePointAt(i) ?? unit
        if (codePoint > 0xffff) i++
        const folded = asciiOf(codePoint)
        if (folded === undefined) run.put(codePoint)
        else for (let at = 0; at < folded.length; at++) run.put(folded.charCodeAt(at))
      }
    }
    const found = this.#named.filter(([, word, bit]) => ((run.found[word] ?? 0) & (1 << bit)) !== 0)
    return new Set(found.map(([name]) => name))
  }
}

interface Tables {
  readonly words: number
  readonly steps: Int32Array
  readonly starts: Int32Array
  readonly anyStarts: Int32Array
  readonly ends: Int32Array
  readonly tagged: Int32Array
}

/** How far each pattern has come, in one text. */
class Run {
  readonly found: Int32Array
  readonly #tables: Tables
  readonly #at: Int32Array
  /** Where the patterns were before the letters since the last character that is none. */
  readonly #beforeRun: Int32Array
  readonly #beforeComments: Int32Array
  readonly #beforeTags: Int32Array
  /** Zero where no pattern has begun. */
  #alive = 0
  #runLength = 0
  #isNewWord = true
  #last = 0
  #isInComment = false
  #isInTag = false
  readonly #beforeRegions: Int32Array
  #isInRegion = false

  constructor(tables: Tables) {
    this.#tables = tables
    this.#at = new Int32Array(tables.words)
    this.found = new Int32Array(tables.words)
    this.#beforeRun = new Int32Array(tables.words)
    this.#beforeComments = new Int32Array(tables.words)
    this.#beforeTags = new Int32Array(tables.words)
    this.#beforeRegions = new Int32Array(tables.words)
  }

  put(unit: number): void {
    const kind = unit < 0x80 ? (classOf[unit] as number) : unread
    if (kind < firstMark) this.#putLetter(kind)
    else this.#putOther(unit, kind)
    this.#last = unit
  }

  #putLetter(kind: number): void {
    const { words, steps, starts, anyStarts, ends } = this.#tables
    if (this.#runLength === 0) this.#beforeRun.set(this.#at)
    const at = this.#at
    const found = this.found
    const begins = this.#isNewWord ? anyStarts : starts
    let alive = 0
    for (let i = 0, step = kind * words; i < words; i++, step++) {
      const end = ends[i] as number
      const onward = ((at[i] as number) & ~end) << 1
      const next = (onward | (begins[i] as number)) & (steps[step] as number)
      at[i] = next
      alive |= next
      ;(found[i] as number) |= next & end
    }
    this.#alive = alive
    this.#runLength++
    this.#isNewWord = false
    // `\n` and its like, Lua's `\z`, Perl's `\E`: in one notation or another, any letter.
    if (this.#last === 0x5c) {
      this.#join(this.#beforeRun)
      this.#isNewWord = true
    }
  }

  #putOther(unit: number, kind: number): void {
    // Before the mark itself, so that a blank counts as one behind the tag.
    if (this.#isInTag && isTagEnd(unit, kind)) this.#endTag()
    if (kind !== unread && (this.#alive !== 0 || marksThatBegin.has(kind))) this.#putMark(kind)
    if (this.#runLength > 0 && this.#runLength <= prefixMax && quotes.has(unit)) {
      this.#join(this.#beforeRun)
    }
    this.#runLength = 0
    // One name in two spellings: `max_length`, `max-length`.
    if (unit !== 0x5f && unit !== 0x2d) this.#isNewWord = true
    this.#putComment(unit)
    this.#putTag(unit)
    this.#putRegion(unit)
  }

  /** A mark that a pattern asks for; the others go on as if it were not there. */
  #putMark(kind: number): void {
    const { words, steps, anyStarts, ends } = this.#tables
    const at = this.#at
    const found = this.found
    for (let i = 0, step = kind * words; i < words; i++, step++) {
      const end = ends[i] as number
      const onward = ((at[i] as number) & ~end) << 1
      const next = (onward | (anyStarts[i] as number)) & (steps[step] as number)
      ;(at[i] as number) |= next
      this.#alive |= next
      ;(found[i] as number) |= next & end
    }
  }

  /**
   * Every mark that begins a comment in some notation may begin one here, and every mark that ends
   * one may end it: in another notation either is part of a string, and the text goes on.
   */
  #putComment(unit: number): void {
    const last = this.#last
    if (this.#isInComment && (lineEnds.has(unit) || isCommentEnd(last, unit))) {
      this.#join(this.#beforeComments)
    }
    if (this.#alive === 0 || !isCommentStart(last, unit)) return
    add(this.#beforeComments, this.#at)
    this.#isInComment = true
  }

  /**
   * Tags, instructions and sections of XML (`<b/>`, `<?x y?>`, `<![CDATA[`), entities, and characters
   * that Python names: whatever stands in one is read as itself and as nothing.
   */
  #putRegion(unit: number): void {
    const isEnd = unit === 0x3e || unit === 0x5b || unit === 0x3b || unit === 0x7d
    if (this.#isInRegion && isEnd) this.#join(this.#beforeRegions)
    if (this.#alive === 0) return
    if (unit !== 0x3c && unit !== 0x26 && (unit !== 0x7b || this.#last !== 0x4e)) return
    add(this.#beforeRegions, this.#at)
    this.#isInRegion = true
  }

  #putTag(unit: number): void {
    if (this.#alive === 0 || (!tagMarks.has(unit) && unit !== 0x5b && unit !== 0x28)) return
    const { words, tagged } = this.#tables
    const at = this.#at
    const before = this.#beforeTags
    for (let i = 0; i < words; i++)
      (before[i] as number) |= (at[i] as number) & (tagged[i] as number)
    this.#isInTag = true
  }

  /** A tag ends at the first blank, unlike a comment, of which a string may hold the end. */
  #endTag(): void {
    this.#join(this.#beforeTags)
    this.#beforeTags.fill(0)
    this.#isInTag = false
  }

  #join(others: Int32Array): void {
    add(this.#at, others)
    this.#alive = 1
  }
}

function add(into: Int32Array, others: Int32Array): void {
  for (let i = 0; i < into.length; i++) (into[i] as number) |= others[i] as number
}

function isTagEnd(unit: number, kind: number): boolean {
  return kind === classes - 1 || unit === 0x5d || unit === 0x29
}

/** Of a line (`//`, `#`, `--`) or of a block. */
function isCommentStart(last: number, unit: number): boolean {
  if (unit === 0x23) return true
  if (last === 0x2f) return unit === 0x2f || unit === 0x2a
  if (last === 0x2d) return unit === 0x2d
  return last === 0x3c && unit === 0x21
}

function isCommentEnd(last: number, unit: number): boolean {
  return (last === 0x2a && unit === 0x2f) || (last === 0x2d && unit === 0x3e)
}

interface Pattern {
  readonly letters: readonly number[]
  readonly isBound: boolean
  readonly isTagged: boolean
}

function parsePattern(pattern: string): Pattern {
  const isTagged = pattern.startsWith('~')
  const rest = isTagged ? pattern.slice(1) : pattern
  const isBound = rest.startsWith('^')
  const letters = Array.from(isBound ? rest.slice(1) : rest, (one) => symbols.indexOf(one))
  return { letters, isBound, isTagged }
}

interface Place {
  readonly word: number
  readonly bit: number
}

/** Each pattern within one word, longest first, in the first word that has room. */
function pack(lengths: readonly number[]): readonly Place[] {
  const used: number[] = []
  const places: Place[] = []
  const order = lengths.map((_, i) => i).toSorted((a, b) => (lengths[b] ?? 0) - (lengths[a] ?? 0))
  for (const i of order) {
    const length = lengths[i] ?? 0
    const found = used.findIndex((bits) => bits + length <= wordBits)
    const word = found < 0 ? used.length : found
    places[i] = { word, bit: used[word] ?? 0 }
    used[word] = (used[word] ?? 0) + length
  }
  return places
}

function setBit(into: Int32Array, at: number, bit: number): void {
  into[at] = (into[at] ?? 0) | (1 << bit)
}
