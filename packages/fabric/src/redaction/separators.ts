import { excerptOf } from './ascii.ts'

export type SeparatorKind =
  /** An operator: everything behind it is the value. */
  | 'assign'
  /** A comparison or a call: only a literal counts. */
  | 'compare'
  | 'call'
  /** A comma between two literals. */
  | 'pair'
  /** The next cell of a table, or the next element. */
  | 'cell'
  /** "is", "set to", a dash, a blank. */
  | 'words'

export interface Separator {
  readonly kind: SeparatorKind
  /** Where the value begins. */
  readonly end: number
}

const separatorBytesMax = 128

/** Closes what the name stands in: quotes at any layer, brackets, emphasis. */
const closers =
  '(?:\\[["\'\\w]{0,32}\\]|\\\\*["\'`]|\\\\?[\\])}]|\\*{1,2}|__?|</[\\w:.-]{1,32}>){0,4}'
const blank = '(?:[ \\t]|&nbsp;)*'
const tags = '(?:</?[\\w:.-]{1,32}(?:\\s[^<>]{0,64})?>\\s*)'

const PATTERNS: readonly (readonly [SeparatorKind, RegExp])[] = [
  ['compare', new RegExp(`^${closers}${blank}(?:[!=]==?|<>)${blank}`)],
  // The operator may stand inside of the emphasis, or outside: `**Password:** …`, `<b>Password:</b> …`.
  [
    'assign',
    new RegExp(
      `^${closers}\\??${blank}(?:::?=|=>?|:(?!//)>?|->|\\xe2\\x86\\x92|\\xe2\\x87\\x92|\\?(?= ))(?:\\*{1,2}|__?|\`(?=\\s))?${blank}(?:</[\\w:.-]{1,32}>${blank}(?:${tags}{0,2})?)?`,
    ),
  ],
  ['call', new RegExp(`^${closers}\\(\\s*(?=\\\\*["'\`])`)],
  ['pair', new RegExp(`^\\\\*["'\`]\\s*,\\s*(?=\\S)`)],
  ['cell', new RegExp(`^${closers}(?:${blank}\\|${blank}|\\t+)`)],
  [
    'cell',
    new RegExp(
      `^(?:</[\\w:.-]{1,32}>\\s*)(?:<(?!input|br|hr|img|select|textarea|button)[\\w:.-]{1,32}(?:\\s[^<>]{0,64})?>\\s*)`,
      'i',
    ),
  ],
  [
    'words',
    new RegExp(
      `^${closers}[ \\t]+(?:(?:for|of)[ \\t]+\\S{1,40}[ \\t]+)?(?:(?:is|was|are|will be|has been|have been|set|now|changed|reset|updated|to|=)[ \\t]+){1,4}(?:[:=][ \\t]*)?`,
      'i',
    ),
  ],
  ['words', new RegExp(`^${closers}[ \\t]+(?:is|was)[ \\t]*:[ \\t]*`, 'i')],
  ['words', new RegExp(`^${closers}[ \\t]+(?:-|--|\\xe2\\x80[\\x93\\x94])[ \\t]+`)],
  ['words', /^[ \t]+(?=\(?["'`(\w$@!#%^&*])/],
]
const option = /^(?:=|[ \t]+)/

/** How the name itself stands in the text. */
export interface Standing {
  readonly isOption: boolean
  readonly isFirst: boolean
}

/** What stands between a name that ends at `at` and its value; null where nothing does. */
export function separatorAfter(
  bytes: Uint8Array,
  { at, to }: { readonly at: number; readonly to: number },
  { isOption, isFirst }: Standing,
): Separator | null {
  const sign = bytes[at]
  const isPlain = sign === 0x3d || sign === 0x3a
  // Nearly all are `=` or `:` and then the value.
  if (isPlain && at + 1 < to && !SIGNS.has(bytes[at + 1])) {
    return { kind: 'assign', end: blankEnd(bytes, at + 1, to) }
  }
  const excerpt = excerptOf(bytes, at, Math.min(to, at + separatorBytesMax))
  if (isOption) {
    const found = option.exec(excerpt)
    if (found !== null) return { kind: 'assign', end: at + found[0].length }
  }
  for (const [kind, pattern] of PATTERNS) {
    if (kind === 'pair' && !isFirst) continue
    const found = pattern.exec(excerpt)
    if (found === null) continue
    const end = blankEnd(bytes, at + found[0].length, to)
    return { kind, end }
  }
  return null
}

/** What makes more of an operator, or follows one, than the value's start: `=>`, `==`, `://`, `:**`, `:</b>`. */
const SIGNS: ReadonlySet<number | undefined> = new Set(
  Array.from('=:>~/*_`<', (sign) => sign.charCodeAt(0)),
)

/** A run of blanks has no limit. */
function blankEnd(bytes: Uint8Array, at: number, to: number): number {
  let i = at
  while (i < to && (bytes[i] === 0x20 || bytes[i] === 0x09)) i++
  return i
}
