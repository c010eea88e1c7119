import { asciiOf } from '@countersign/protocol'
import { LiteralOpener } from './literal-opener.ts'
import { lowestOf, Progress } from './word-progress.ts'

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
const slashKind = symbols.indexOf('/')

const unread = 0xff
const classOf = new Uint8Array(128).fill(unread)
for (let i = 0; i < classes; i++) classOf[symbols.charCodeAt(i)] = i
for (let i = 0; i < 26; i++) classOf[0x41 + i] = i
for (const blank of '\t\n\v\f\r') classOf[blank.charCodeAt(0)] = symbols.indexOf(' ')
classOf[0x3d] = symbols.indexOf(':')

/** The roles of a character in some notation: constructs that it may begin or end. */
const roles = {
  lineEnd: 1,
  /** Rust begins a raw string with `r#`. */
  quote: 2,
  /** Tags, anchors, aliases and block indicators of YAML: what follows goes up to a blank. */
  tag: 4,
  tagEnd: 8,
  comment: 16,
  region: 64,
  regionEnd: 128,
  /** Ends a literal, or goes on with one in another line. */
  joint: 256,
  /**
   * Characters that join nothing: blanks, and the signs of ASCII except those that occur in names,
   * `]`, which ends a section of XML, and `;`, which remains of an entity whose end was itself in
   * an escape.
   */
  gap: 512,
} as const
const roleOf = new Uint16Array(128)
for (const [characters, role] of [
  ['\n\r', roles.lineEnd],
  ['"\'`#', roles.quote],
  ['!&*|>[(', roles.tag],
  ['\t\n\v\f\r ])', roles.tagEnd],
  ['#/*-!', roles.comment],
  ['<&{', roles.region],
  ['>[;}', roles.regionEnd],
  ['"\'`\\', roles.joint],
  ['\t\n\v\f\r !#$%&()*+,.:<=>?@[^{|}~', roles.gap],
] as const) {
  for (const one of characters) roleOf[one.charCodeAt(0)] = (roleOf[one.charCodeAt(0)] ?? 0) | role
}

function rolesOf(unit: number): number {
  if (unit < 0x80) return roleOf[unit] as number
  return unit === 0x85 || unit === 0x2028 || unit === 0x2029 ? roles.lineEnd | roles.gap : 0
}

/** `b'…'`, `rb"…"`, `u8"…"`. */
const prefixMax = 3

/**
 * Finds words in text whatever stands between their letters: blanks, quotes, operators, line ends,
 * marks. Only letters and digits keep letters apart, unless they stand where some notation would
 * not read them: in a comment, in the prefix of a string, behind a backslash. Of each of these both
 * readings are followed, independent of all others.
 *
 * A pattern consists of letters and digits, which must follow one another, and of marks, of which
 * one must stand between them: `/`, `:` (or `=`), `*`, `&`, `<`, a blank. It begins with `^` when
 * nothing but a new word will do, and with `~` when YAML's tags and brackets may stand inside as
 * well. It ends with `$` when no letter or digit may follow.
 *
 * Signs and blanks alone do not join two parts of a word: no notation reads `send (message` as one.
 * They are joined by a quote, a backslash, or something that is left out. In a pattern, `_` stands
 * where they may be apart.
 *
 * All patterns are followed at once, one bit for each of their letters (Baeza-Yates and Gonnet's
 * shift-and), in those words of the machine in which some pattern has begun: time is the length of
 * the text times a constant, whatever the text.
 */
export class WordMatcher<Name extends string> {
  readonly #tables: Tables
  readonly #named: readonly (readonly [name: Name, word: number, bit: number])[]

  constructor(words: Words<Name>) {
    const patterns = Object.entries<readonly string[]>(words).flatMap(([name, all]) =>
      all.map((pattern) => ({ name: name as Name, ...parsePattern(pattern) })),
    )
    const places = pack(patterns.map(({ letters }) => letters.length))
    const count = Math.max(...places.map(({ word }) => word)) + 1
    // The set of words in use is itself a word with one bit for each.
    if (count > wordBits) throw new Error('more patterns than can be followed at once')
    const tables = new Tables(count)
    this.#tables = tables
    this.#named = patterns.map(({ name, letters, isBound, isTagged, isEnded, open }, i) => {
      const { word, bit } = places[i] as Place
      letters.forEach((letter, at) => {
        setBit(tables.steps, letter * count + word, bit + at)
        if (isTagged) setBit(tables.tagged, word, bit + at)
        const next = letters[at + 1] ?? classes
        const isInner = (letter < firstMark || letter === slashKind) && next < firstMark
        if (isInner && !open.includes(at)) setBit(tables.solid, word, bit + at)
      })
      setBit(tables.anyStarts, word, bit)
      const [first = 0] = letters
      setBit(tables.anyStarting, first, word)
      if (!isBound) setBit(tables.starts, word, bit)
      if (!isBound) setBit(tables.starting, first, word)
      const end = bit + letters.length - 1
      setBit(tables.ends, word, end)
      if (isEnded) setBit(tables.lastOfWord, word, end)
      return [name, word, end] as const
    })
  }

  /** The names of all words that stand in `text`. */
  find(text: string): ReadonlySet<Name> {
    const run = new Run(this.#tables)
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
    run.end()
    const found = this.#named.filter(([, word, bit]) => ((run.found[word] ?? 0) & (1 << bit)) !== 0)
    return new Set(found.map(([name]) => name))
  }
}

/** Tables by machine word, except where noted. */
class Tables {
  readonly words: number
  /** By symbol and word. */
  readonly steps: Int32Array
  readonly starts: Int32Array
  readonly anyStarts: Int32Array
  readonly ends: Int32Array
  readonly tagged: Int32Array
  readonly lastOfWord: Int32Array
  /** Letters that must be joined to the next one. */
  readonly solid: Int32Array
  /** By symbol: in which words a pattern begins with it. */
  readonly starting = new Int32Array(classes)
  readonly anyStarting = new Int32Array(classes)

  constructor(words: number) {
    this.words = words
    this.steps = new Int32Array(classes * words)
    this.starts = new Int32Array(words)
    this.anyStarts = new Int32Array(words)
    this.ends = new Int32Array(words)
    this.tagged = new Int32Array(words)
    this.lastOfWord = new Int32Array(words)
    this.solid = new Int32Array(words)
  }
}

/** Progress of each pattern in one text. */
class Run {
  readonly found: Int32Array
  readonly #tables: Tables
  readonly #now: Progress
  /** Progress of the patterns before the letters since the last character that is not a letter. */
  readonly #beforeRun: Progress
  readonly #beforeComments: Progress
  readonly #beforeTags: Progress
  readonly #beforeRegions: Progress
  /** Patterns that are found unless a letter follows. */
  readonly #pending: Progress
  /** Patterns that continue only if something joins the next letter to them. */
  readonly #parked: Progress
  /** Before letters that may open a literal. */
  readonly #beforeOpener: Progress
  readonly #opener = new LiteralOpener()
  #isJoined = false
  #hasEnded = false
  #runLength = 0
  #isNewWord = true
  #last = 0
  #isInComment = false
  #isInTag = false
  #isInRegion = false
  /**
   * True if the last run of letters may have been the prefix of a literal and nothing has followed.
   */
  #isPrefixed = false
  /** Between `<` and `>`. */
  #isInMarkup = false
  /**
   * Number of consecutive `<`; `#hasHereDocument` is true once a here-document has begun with them.
   */
  #angles = 0
  #hasHereDocument = false
  /** Its name closes it, alone at the start of a line or before the rest of an expression. */
  #label: 'none' | 'may begin' | 'begun' = 'none'

  constructor(tables: Tables) {
    const { words } = tables
    this.#tables = tables
    this.found = new Int32Array(words)
    this.#now = new Progress(words)
    this.#beforeRun = new Progress(words)
    this.#beforeComments = new Progress(words)
    this.#beforeTags = new Progress(words)
    this.#beforeRegions = new Progress(words)
    this.#pending = new Progress(words)
    this.#parked = new Progress(words)
    this.#beforeOpener = new Progress(words)
  }

  put(unit: number): void {
    const kind = unit < 0x80 ? (classOf[unit] as number) : unread
    if (kind < firstMark) this.#putLetter(kind)
    else this.#putOther(unit, kind)
    this.#last = unit
  }

  end(): void {
    this.#settle()
  }

  #putLetter(kind: number): void {
    const { anyStarts, starts, anyStarting, starting } = this.#tables
    const now = this.#now
    if (this.#opener.letter(kind, this.#runLength === 0, this.#last)) {
      this.#beforeOpener.set(now)
      this.#beforeOpener.add(this.#parked)
    }
    this.#angles = 0
    if (this.#label === 'may begin') this.#label = 'begun'
    if (this.#runLength === 0) this.#beforeRun.set(now)
    if (this.#pending.inUse !== 0) this.#pending.clear()
    if (this.#parked.inUse !== 0) this.#parked.clear()
    const begun = now.inUse
    if (this.#isNewWord) this.#step(kind, begun | (anyStarting[kind] as number), anyStarts, false)
    else this.#step(kind, begun | (starting[kind] as number), starts, false)
    this.#runLength++
    this.#isNewWord = false
    this.#isJoined = false
    // `\n` and its like, Lua's `\z`, Perl's `\E`: in one notation or another, any letter.
    if (this.#last === 0x5c) {
      now.add(this.#beforeRun)
      this.#isNewWord = true
      this.#isJoined = true
    }
  }

  /** Goes on by one symbol in the words of `which`; `keeps` where it may as well not be there. */
  #step(kind: number, which: number, begins: Int32Array, keeps: boolean): void {
    const { words, steps, ends, lastOfWord } = this.#tables
    const { at } = this.#now
    const base = kind * words
    let inUse = keeps ? this.#now.inUse : 0
    for (let left = which; left !== 0; left &= left - 1) {
      const i = lowestOf(left)
      const end = ends[i] as number
      const before = at[i] as number
      const next = (((before & ~end) << 1) | (begins[i] as number)) & (steps[base + i] as number)
      at[i] = keeps ? before | next : next
      if (next === 0) continue
      inUse |= 1 << i
      const hit = next & end
      if (hit === 0) continue
      const waits = lastOfWord[i] as number
      ;(this.found[i] as number) |= hit & ~waits
      ;(this.#pending.at[i] as number) |= hit & waits
      if ((hit & waits) !== 0) this.#pending.inUse |= 1 << i
    }
    this.#now.inUse = inUse
  }

  /** No letter has followed. */
  #settle(): void {
    const { at, inUse } = this.#pending
    for (let left = inUse; left !== 0; left &= left - 1) {
      const i = lowestOf(left)
      ;(this.found[i] as number) |= at[i] as number
    }
    this.#pending.clear()
  }

  #putOther(unit: number, kind: number): void {
    if (this.#pending.inUse !== 0) this.#settle()
    const role = rolesOf(unit)
    this.#hasEnded = false
    const isOpened = this.#opener.other(unit)
    if (isOpened) this.#now.add(this.#beforeOpener)
    if (isOpened || (role & roles.joint) !== 0 || isBracketOfLiteral(this.#last, unit)) {
      this.#isJoined = true
      if (this.#parked.inUse !== 0) this.#now.add(this.#parked)
      this.#parked.clear()
    }
    // Before the mark itself, so that a blank counts as one behind the tag.
    if (this.#isInTag && (role & roles.tagEnd) !== 0) this.#endTag()
    if (kind !== unread && (this.#now.inUse !== 0 || marksThatBegin.has(kind))) {
      const { anyStarts, anyStarting } = this.#tables
      // The patterns that do not ask for the mark go on as if it were not there.
      this.#step(kind, this.#now.inUse | (anyStarting[kind] as number), anyStarts, true)
    }
    const isPrefix = this.#runLength > 0 && this.#runLength <= prefixMax
    const wasPrefixed = this.#isPrefixed
    this.#isPrefixed = isPrefix && (role & roles.quote) !== 0
    if (this.#isPrefixed) this.#now.add(this.#beforeRun)
    this.#runLength = 0
    // One name in two spellings: `max_length`, `max-length`.
    if (unit !== 0x5f && unit !== 0x2d) this.#isNewWord = true
    if (role === 0) return
    this.#putComment(unit, role)
    this.#putHereDocument(unit, role)
    if ((role & roles.tag) !== 0 && this.#now.inUse !== 0) this.#beginTag()
    this.#putRegion(unit, role, wasPrefixed)
    if ((role & roles.gap) !== 0 && !this.#isJoined && !this.#hasEnded) this.#park()
  }

  /**
   * Ends a part that was left out: the next letter may continue the patterns from before it, if
   * nothing comes between.
   */
  #resume(before: Progress): void {
    this.#now.add(before)
    this.#hasEnded = true
  }

  /**
   * Every mark that begins a comment in some notation may begin one here, and every mark that ends
   * one may end it: in another notation either is part of a string, and the text goes on.
   */
  #putComment(unit: number, role: number): void {
    const last = this.#last
    if (this.#isInComment && isCommentEnd(last, unit, role)) this.#resume(this.#beforeComments)
    if ((role & roles.comment) === 0 || !this.#isUnderWay()) return
    if (!isCommentStart(last, unit)) return
    this.#beforeComments.add(this.#now)
    this.#beforeComments.add(this.#parked)
    this.#isInComment = true
  }

  /**
   * PHP's begin with `<<<`, others with `<<~` and `<<-`. From then on, any whole line may be left
   * out.
   */
  #putHereDocument(unit: number, role: number): void {
    const angles = this.#angles
    this.#angles = unit === 0x3c ? angles + 1 : 0
    if (this.#label === 'begun' && unit !== 0x5f) {
      this.#now.add(this.#beforeComments)
      this.#isJoined = true
    }
    const isLineEnd = (role & roles.lineEnd) !== 0
    if (isLineEnd) this.#label = this.#hasHereDocument ? 'may begin' : 'none'
    else if (this.#label === 'begun' ? unit !== 0x5f : unit > 0x20) this.#label = 'none'
    const begins = this.#angles === 3 || (angles === 2 && (unit === 0x7e || unit === 0x2d))
    if (begins) this.#hasHereDocument = true
    if (!begins && (!this.#hasHereDocument || !isLineEnd)) return
    this.#beforeComments.add(this.#now)
    this.#beforeComments.add(this.#parked)
    this.#isInComment = true
  }

  /**
   * Tags, instructions and sections of XML (`<b/>`, `<?x y?>`, `<![CDATA[`), entities, and
   * characters that Python names: whatever stands in one is read as itself and as nothing.
   */
  #putRegion(unit: number, role: number, wasPrefixed: boolean): void {
    const ends = roles.regionEnd | (this.#isInMarkup ? roles.quote : 0)
    if (this.#isInRegion && (role & ends) !== 0) this.#resume(this.#beforeRegions)
    if (unit === 0x3c || unit === 0x3e) this.#isInMarkup = unit === 0x3c
    // Behind the name in `<method a="b">`, and behind the value in `<member name="method"
    // value="…">`.
    else if (this.#isInMarkup && unit <= 0x20 && this.#now.inUse !== 0 && !wasPrefixed) {
      this.#beforeRegions.addApart(this.#now, this.#tables.solid)
      this.#isInRegion = true
    }
    if ((role & roles.region) === 0 || !this.#isUnderWay()) return
    if (unit === 0x7b && !isInserting(this.#last)) return
    this.#beforeRegions.add(this.#now)
    this.#beforeRegions.add(this.#parked)
    this.#isInRegion = true
  }

  #isUnderWay(): boolean {
    return this.#now.inUse !== 0 || this.#parked.inUse !== 0
  }

  #park(): void {
    const { solid } = this.#tables
    const { at } = this.#now
    for (let left = this.#now.inUse; left !== 0; left &= left - 1) {
      const i = lowestOf(left)
      const parts = (at[i] as number) & (solid[i] as number)
      if (parts === 0) continue
      ;(at[i] as number) ^= parts
      if (at[i] === 0) this.#now.inUse ^= 1 << i
      ;(this.#parked.at[i] as number) |= parts
      this.#parked.inUse |= 1 << i
    }
  }

  #beginTag(): void {
    const { tagged } = this.#tables
    const { at, inUse } = this.#now
    const before = this.#beforeTags
    for (let left = inUse; left !== 0; left &= left - 1) {
      const i = lowestOf(left)
      const kept = (at[i] as number) & (tagged[i] as number)
      if (kept === 0) continue
      ;(before.at[i] as number) |= kept
      before.inUse |= 1 << i
    }
    this.#isInTag = true
  }

  /** A tag ends at the first blank, unlike a comment, of which a string may hold the end. */
  #endTag(): void {
    this.#resume(this.#beforeTags)
    this.#beforeTags.clear()
    this.#isInTag = false
  }
}

/**
 * Before a brace, what puts a character or a value into a string: `\N{…}`, `#{…}`, `${…}`, `@{…}`.
 */
function isInserting(last: number): boolean {
  return last === 0x4e || last === 0x23 || last === 0x24 || last === 0x40
}

/**
 * The end or begin of a long bracket of Lua (`]]`, `[==[`), or what opens a literal of Ruby (`%(`).
 */
function isBracketOfLiteral(last: number, unit: number): boolean {
  if (unit === 0x5d) return last === 0x5d || last === 0x3d
  if (unit === 0x5b && (last === 0x5b || last === 0x3d)) return true
  return (
    last === 0x25 &&
    (unit === 0x28 || unit === 0x5b || unit === 0x7b || unit === 0x3c || unit === 0x7c)
  )
}

/** Of a line (`//`, `#`, `--`) or of a block. */
function isCommentStart(last: number, unit: number): boolean {
  if (unit === 0x23) return true
  if (last === 0x2f) return unit === 0x2f || unit === 0x2a
  if (last === 0x2d) return unit === 0x2d
  return last === 0x3c && unit === 0x21
}

function isCommentEnd(last: number, unit: number, role: number): boolean {
  if ((role & roles.lineEnd) !== 0) return true
  if (unit === 0x5d && isBracketOfLiteral(last, unit)) return true
  return (last === 0x2a && unit === 0x2f) || (last === 0x2d && unit === 0x3e)
}

interface Pattern {
  readonly letters: readonly number[]
  readonly isBound: boolean
  readonly isTagged: boolean
  readonly isEnded: boolean
  /** Places of letters behind which blanks may stand. */
  readonly open: readonly number[]
}

function parsePattern(pattern: string): Pattern {
  const isTagged = pattern.startsWith('~')
  const isEnded = pattern.endsWith('$')
  const rest = pattern.slice(isTagged ? 1 : 0, isEnded ? -1 : undefined)
  const isBound = rest.startsWith('^')
  const parts = (isBound ? rest.slice(1) : rest).split('_')
  const letters = Array.from(parts.join(''), (one) => symbols.indexOf(one))
  let length = 0
  const open = parts.slice(0, -1).map((part) => (length += part.length) - 1)
  return { letters, isBound, isTagged, isEnded, open }
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
