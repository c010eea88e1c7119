import { excerptOf } from './ascii.ts'

export type SeparatorKind =
  /** An operator: everything behind it is the value. */
  | 'assign'
  /** A comparison or a call: only a literal counts. */
  | 'compare'
  | 'call'
  /** The separator of two literals of one list. */
  | 'pair'
  /** The next cell of a table, or the next element. */
  | 'cell'
  /** "is", "set to", a dash, a blank. */
  | 'words'

export interface Separator {
  readonly kind: SeparatorKind
  /** Offset of the start of the value. */
  readonly end: number
}

/** The position of the name itself in the text. */
export interface Standing {
  readonly isOption: boolean
  /** True if a literal behind it may be its value: an argument, or the first item on its line. */
  readonly isArgument: boolean
  /** True if it is part of a path: text behind a slash is, too. */
  readonly isPath: boolean
}

const separatorBytesMax = 192
const blanks = /(?:[ \t]|&nbsp;)*/y
/** Closes what the name stands in: quotes at any layer, brackets, emphasis, an element. */
const closer = /\[["'\w]{0,32}\]|\\*["'`]|\\?[\])}]|\*{1,2}|__?|<\/[\w:.-]{1,32}>/y
const closersMax = 4
/** Distinguishes several of a name: `(db)`, `[db]`, `/db`. */
const qualifier =
  /[ \t]*(?:\((?!\s*\\*["'`])[^()\n"'`]{0,48}\)|\[[^[\]\n"'`]{0,48}\]|[ \t]?\/[ \t]?(?:[\w.]|-(?=\w)){1,40})/y
const qualifiersMax = 3
/** "for the database": what it is for, in three words at most. */
const purpose = /[ \t]+(?:for|of|from|on|in)(?=[ \t])/iy
const purposeWord = /[ \t]+[^\s:=]{1,40}/y
const purposeWordsMax = 3
/** Leads from a name to its value: `.....`, `-----`, `>>>`, an ellipsis. */
const leader =
  /[ \t]+>{1,64}[ \t]*|[ \t]*(?:(?:\.{2,64}|-{3,64}|_{2,64}|\xe2\x80\xa6|\xc2\xb7{2,64})[ \t]*)/y
const arrow = /\xe2\x86[\x90-\xbf]|\xe2\x87[\x80-\xbf]|\xe2\x9e[\x94-\xbe]|\xe2\x89[\x94\x95]/y
const operatorSigns = /[-:=<>!~?+*/.|&%^]{1,4}/y
/**
 * Follows an operator before the value: the end of emphasis or of an element, and what opens the
 * next.
 */
const behindOperator =
  /(?:\*{1,2}|__?|`(?=\s))?(?:[ \t]|&nbsp;)*(?:<\/[\w:.-]{1,32}>(?:[ \t]|&nbsp;)*(?:<\/?[\w:.-]{1,32}(?:\s[^<>]{0,64})?>\s*){0,2})?/y
const copula =
  /[ \t]+(?:(?:is|was|are|will be|has been|have been|equals|set|now|changed|reset|updated|to|ist|lautet|est|es|era|jest|=)(?=[ \t:=])[ \t]*){1,5}/iy
const dash = /[ \t]+(?:-|--)[ \t]+|[ \t]*\xe2\x80[\x93\x94][ \t]*/y
const callStart = /\(\s*(?=\\*["'`]|[bBuUrRfF@$]{1,2}["'])/y
const pairSign = /\\*["'`](?:\s*,\s*|\s+\.\s+|\s+(?=\\*["'`]))(?=\S)/y
const cell = /[ \t]*\|[ \t]*|\t+/y
const nextElement =
  /(?:<\/[\w:.-]{1,32}>\s*)(?:<(?!input|br|hr|img|select|textarea|button)[\w:.-]{1,32}(?:\s[^<>]{0,64})?>\s*)/iy
const blankBeforeValue = /[ \t]+(?=\(?(?:\\*["'`]|[(\w$@!#%^&*[{]|[\x80-\xff]))/y
const option = /=|[ \t]+/y

/** Every operator between a name and its value, by what it implies for the value. */
const OPERATORS: ReadonlyMap<string, SeparatorKind> = new Map([
  ...['=', ':', ':=', '::=', '::', '=:', '=>', '==>', '->', '-->', '<-', '<--', ':>'].map(
    (sign) => [sign, 'assign'] as const,
  ),
  ...['?=', '+=', '.=', '|=', '&=', '*=', '/=', '%=', '^=', '~=', '||=', '??=', '&&=', '<<='].map(
    (sign) => [sign, 'assign'] as const,
  ),
  ...['==', '===', '!=', '!==', '<>', '=~', '!~', '||', '??', '?:'].map(
    (sign) => [sign, 'compare'] as const,
  ),
])

/** Returns the separator between a name that ends at `at` and its value; null if there is none. */
export function separatorAfter(
  bytes: Uint8Array,
  { at, to }: { readonly at: number; readonly to: number },
  standing: Standing,
): Separator | null {
  const sign = bytes[at]
  const isPlain = sign === 0x3d || sign === 0x3a
  // Nearly all are `=` or `:` and then the value.
  if (isPlain && at + 1 < to && !SIGNS.has(bytes[at + 1])) {
    return { kind: 'assign', end: blankEnd(bytes, at + 1, to) }
  }
  const reader = new SeparatorReader(excerptOf(bytes, at, Math.min(to, at + separatorBytesMax)))
  const kind = reader.read(standing)
  return kind === null ? null : { kind, end: blankEnd(bytes, at + reader.at, to) }
}

/** Reads what stands behind a name once, from the left; each part is tried at one place only. */
class SeparatorReader {
  readonly #text: string
  at = 0

  constructor(text: string) {
    this.#text = text
  }

  read(standing: Standing): SeparatorKind | null {
    if (standing.isOption && this.#take(option)) return 'assign'
    if (standing.isArgument && this.#take(pairSign)) return 'pair'
    if (this.#take(nextElement)) return 'cell'
    this.#closers()
    const closed = this.at
    if (this.#take(callStart)) return 'call'
    const plain = this.#operator() ?? this.#stated()
    if (plain !== null) return plain
    if (this.#take(cell)) return 'cell'
    const qualified = this.#qualified(standing)
    if (qualified !== null) return qualified
    this.at = closed
    if (this.#take(purpose) && this.#afterPurpose()) return 'words'
    this.at = 0
    return this.#take(blankBeforeValue) ? 'words' : null
  }

  #closers(): void {
    for (let i = 0; i < closersMax && this.#take(closer); i++);
  }

  /** An operator in one of its forms, with what belongs to it on either side. */
  #operator(): SeparatorKind | null {
    const start = this.at
    if (this.#text.charAt(start) === '?') this.at++
    this.#take(blanks)
    const kind = this.#take(arrow) ? 'assign' : this.#sign()
    if (kind === null) {
      this.at = start
      // A question, and perhaps its answer.
      return /^\?[ \t]/.test(this.#text.slice(start, start + 2)) && this.#skip(1) ? 'words' : null
    }
    if (kind === 'assign') this.#take(behindOperator)
    return kind
  }

  #sign(): SeparatorKind | null {
    operatorSigns.lastIndex = this.at
    const signs = operatorSigns.exec(this.#text)?.[0] ?? ''
    for (let length = signs.length; length > 0; length--) {
      const kind = OPERATORS.get(signs.slice(0, length))
      if (kind === undefined) continue
      // `password://`: a scheme.
      if (length === 1 && signs.startsWith('://')) return null
      this.at += length
      return kind
    }
    return null
  }

  /** "is", a leader or a dash; with an operator behind it, all that follows is the value. */
  #stated(): SeparatorKind | null {
    const start = this.at
    if (this.#take(copula) || this.#take(leader)) {
      if (this.#operator() === 'assign') return 'assign'
      // The hyphens behind a label of PEM lead to no value.
      if (!/[-_]{3}/.test(this.#text.slice(start, this.at))) return 'words'
      this.at = start
    }
    return this.#take(dash) ? 'words' : null
  }

  #qualified({ isPath }: Standing): SeparatorKind | null {
    const start = this.at
    for (let i = 0; i < qualifiersMax; i++) {
      if (isPath && this.#text.charAt(this.at) === '/') break
      if (!this.#take(qualifier)) break
    }
    if (this.at === start) return null
    this.#closers()
    const kind = this.#operator()
    if (kind === 'assign') return kind
    return kind === null ? this.#stated() : null
  }

  #afterPurpose(): boolean {
    for (let i = 0; i < purposeWordsMax && this.#take(purposeWord); i++) {
      if (this.#operator() === 'assign') return true
      if (!this.#take(copula)) continue
      this.#operator()
      return true
    }
    return false
  }

  #skip(count: number): boolean {
    this.at += count
    return true
  }

  #take(pattern: RegExp): boolean {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.#text)
    if (found === null) return false
    this.at += found[0].length
    return found[0] !== ''
  }
}

/**
 * Signs that extend an operator or follow one, and are not the start of the value: `=>`, `==`,
 * `://`, `:**`, `:</b>`.
 */
const SIGNS: ReadonlySet<number | undefined> = new Set(
  Array.from('=:>~/*_`<', (sign) => sign.charCodeAt(0)),
)

/** A run of blanks has no limit. */
function blankEnd(bytes: Uint8Array, at: number, to: number): number {
  let i = at
  while (i < to && (bytes[i] === 0x20 || bytes[i] === 0x09)) i++
  return i
}
