import { STEPS } from '../inspection-work.ts'
import { excerptOf, latin1 } from '../text/ascii.ts'
import { isLineEnd, isOpener, isQuoteSign } from '../text/line-context.ts'
import type { SeparatorKind } from '../text/separators.ts'
import { typeEnd } from '../text/type-annotation.ts'
import type { Span, View } from '../text/view.ts'
import { argumentStart, nextArgument } from './call-arguments.ts'
import { headOf, isCodeBelow, isCodeWord } from './code-place.ts'
import { assignedAt, isCompared } from './comparison.ts'
import { isCode } from './plain-values.ts'
import type { SecretKind, SecretRule } from './secret-names.ts'
import { isSecretValue, looksMade } from './secret-values.ts'
import { isSelector } from './selector-place.ts'
import {
  type BareForm,
  blockBelow,
  type Place,
  trimmed,
  type ValueReader,
} from './value-grammar.ts'
import { listBytesMax, listedValues, mayOpenList, opensList } from './value-lists.ts'

/** The name of a value, and what stands between the two. */
export interface Giving {
  readonly rule: SecretRule
  readonly name: Span
  readonly kind: SeparatorKind
  /** The byte before the name. */
  readonly before: number
  readonly isOption: boolean
  /** True if any literal is the value: `setenv("PASSWORD", "…")`. */
  readonly isSet: boolean
  /**
   * True if only lines with a deeper indent than the name itself belong to it: a pair in a list has
   * a dash before it.
   */
  readonly isMember: boolean
  /** True if a type precedes the value. */
  readonly isTyped?: boolean
}

/** Reads the values that a name is given: of assignments and of pairs alike. */
export class GivenValues {
  readonly #place: Place
  readonly #view: View
  readonly #values: ValueReader
  /** The list that was taken apart last. */
  #list: Span & { readonly kind: SecretKind | null } = { start: 0, end: 0, kind: null }

  constructor(view: View, place: Place, values: ValueReader) {
    this.#view = view
    this.#place = place
    this.#values = values
  }

  /** Those of the value that begins at `start`; null where a literal there is none. */
  after(start: number, giving: Giving): readonly Span[] | null {
    const { bytes, to } = this.#view
    if (bytes[start] !== 0x2f || bytes[start + 1] !== 0x2a) return this.#behind(start, giving)
    const text = latin1(bytes, start, Math.min(to, start + commentBytesMax))
    const [comment = ''] = /^\/\*[^*]{0,64}\*\/[ \t]*/.exec(text) ?? []
    const values = this.#behind(start + comment.length, giving)
    // Text that looks like a comment may be the secret, or hold it.
    const isMade =
      giving.kind === 'assign' && looksMade(comment.replaceAll(/[*\s/]+$|^[*\s/]+/g, ''))
    const own = trimmed(bytes, start, start + comment.length)
    return isMade && this.#accepts(giving.rule, own) ? [own, ...(values ?? [])] : values
  }

  #behind(at: number, giving: Giving): readonly Span[] | null {
    const { bytes, to } = this.#view
    const { name, rule, kind, isSet, isOption } = giving
    if (kind !== 'cell' && (at >= to || isLineEnd(bytes[at]))) return this.#below(giving, at)
    if (kind === 'assign' && BLOCK_STARTS.has(bytes[at])) {
      const head = latin1(bytes, at, Math.min(to, at + blockHeadBytesMax))
      if (blockHead.test(head)) return this.#block(giving, at)
      const [tag = ''] = tagAlone.exec(head) ?? []
      const below = tag === '' ? [] : this.#below(giving, at + tag.length)
      // Text that looks like a tag or an anchor may be part of the secret.
      const isTag = !looksMade(tag.replaceAll(/[!&<>\s]/g, ''))
      if (below.length > 0)
        return [...(isTag ? [] : [{ start: at, end: at + tag.length }]), ...below]
    }
    if (kind === 'words' && isVerb(rule, bytes[at])) return this.madeWord(at, 'word', rule)
    if ((kind === 'words' || kind === 'assign') && isSelector(this.#view, name, at)) return []
    const next = this.#closedAt(name.end, at)
    if (next >= 0) {
      const literal = this.#values.quoted(next)
      const joined: SeparatorKind = kind === 'assign' ? 'compare' : 'pair'
      if (literal !== null)
        return this.#literals(literal, rule, { kind: joined, at: next, isSet, isMember: false })
      return next === at + 1 ? this.madeWord(next, 'word', rule) : []
    }
    const quoted = this.#values.quoted(kind === 'pair' ? argumentStart(this.#view, at) : at)
    if (quoted !== null)
      return this.#literals(quoted, rule, { kind, at, isSet, isMember: giving.isMember })
    if (kind === 'compare') return this.#compared(at, giving)
    if (kind === 'pair' || kind === 'call') return kind === 'pair' ? null : []
    const isArgument = isOption && name.start === this.#view.from && bytes[at - 1] === 0x3d
    return this.#bareAfter(at, giving, isArgument)
  }

  /**
   * Returns the possible start of the next literal if the one with the name ends at `at`:
   * `"password: " + "…"`; -1 if a quote there opens the value.
   */
  #closedAt(nameEnd: number, at: number): number {
    const { bytes, to } = this.#view
    const sign = bytes[at] as number
    if (!isQuoteSign(sign) || bytes.subarray(nameEnd, at).includes(sign)) return -1
    if (!this.#place.context.closes({ sign, backslashes: 0 })) return -1
    return at + (joint.exec(latin1(bytes, at, Math.min(to, at + jointBytesMax)))?.[0].length ?? 1)
  }

  /** After an operator, or in a call, a list or a table: the literals that count. */
  #literals(
    quoted: Span,
    rule: SecretRule,
    how: { kind: SeparatorKind; at: number; isSet: boolean; isMember: boolean },
  ): readonly Span[] | null {
    const { kind, at, isSet, isMember } = how
    if (kind === 'call') return this.#arguments(quoted, rule)
    const isMade = kind === 'assign' || kind === 'compare' || kind === 'words' || isSet
    if (!this.#accepts(rule, quoted))
      return kind === 'assign' && !isMember ? this.#tail(quoted, rule, at) : []
    return isMade || looksMade(this.#textOf(quoted)) ? [quoted] : null
  }

  /**
   * Returns the values after a comparison that are not literals: such a value may be assigned, with
   * the signs of the comparison as its start.
   */
  #compared(at: number, { name, rule, before, isOption }: Giving): readonly Span[] {
    const { bytes, to } = this.#view
    const start = assignedAt(bytes, name.end, at)
    if (start < 0 || at >= to || isWhite(bytes[at])) return []
    const form = formOf(rule, { kind: 'assign', before, isOption, isArgument: false })
    // Judged by its first bytes: a line of comparisons is not read to its end for each of them.
    const { end } = this.#values.bare(start, form, wordBytesMax)
    const text = this.#textOf({ start, end })
    const isLine = end >= to || isLineEnd(bytes[end])
    if (isCompared(text, headOf(this.#view, name), isLine)) return []
    const value = this.#values.bare(start, form)
    return isCode(text.replace(/^[=~]+/, '')) || !this.#accepts(rule, value) ? [] : [value]
  }

  /** Handles `setPassword("user", "…")`: the call does not show which argument is the secret. */
  #arguments(first: Span, rule: SecretRule): readonly Span[] {
    const found: Span[] = []
    let value: Span | null = first
    for (let i = 0; i < argumentsMax && value !== null; i++) {
      if (this.#accepts(rule, value)) found.push(value)
      const next = nextArgument(this.#view, value.end)
      value = next < 0 ? null : this.#values.quoted(next)
    }
    return found
  }

  /** `("a"),tail`: a literal that is too short for a secret, and more behind it that is none. */
  #tail({ end }: Span, rule: SecretRule, at: number): readonly Span[] {
    // The end of its tag, and the element's text.
    const { bytes, to } = this.#view
    if (/^["'`]\s*\/?>[^<>\n\d]*</.test(latin1(bytes, end, Math.min(to, end + tagTailMax))))
      return []
    const line = this.#values.bare(at, 'line', wordBytesMax)
    const behind = line.end <= end ? '' : latin1(bytes, end, line.end)
    // The next literal is another element.
    const [rest = ''] = behind.split(/(?<=["'`)])\s*[,;]\s*(?=\\*["'`])/, 1)
    const value = { start: at, end: end + rest.length }
    const isMade = looksMade(rest.replaceAll(/["'`()[\]{},;\s]/g, ''))
    return isMade && this.#accepts(rule, value) ? [value] : []
  }

  #bareAfter(given: number, giving: Giving, isArgument: boolean): readonly Span[] | null {
    const { bytes, to } = this.#view
    const { rule, kind, isOption, before } = giving
    const at = given + schemeLength(bytes, given, to, rule)
    const form = formOf(rule, { kind, before, isOption, isArgument })
    if (isOpener(bytes[at] as number)) {
      const listed = this.#listed(at, giving)
      if (listed !== null) return listed
    }
    if (kind !== 'assign' && !isOption) return this.madeWord(at, form, rule)
    const heredoc = this.#values.heredoc(at)
    if (heredoc !== null) {
      // With no line below, or none that ends it, what resembles a label may be the secret.
      const line = heredoc.end < to ? null : this.#values.bare(at, form)
      if (line === null || !this.#isText(line, heredoc)) return [heredoc]
      return [line, heredoc]
    }
    // Another option. Read to its end first, a list of them would be read once for each.
    if (isOption && bytes[at] === 0x2d && bytes[at - 1] !== 0x3d) return []
    // One type alone: each would be read within the one before.
    const typed = giving.isTyped === true ? -1 : this.#typed(at)
    if (typed >= 0) return this.after(typed, { ...giving, isTyped: true })
    const isShort = rule.kind === 'code'
    const value = this.#values.bare(at, form, isShort ? shortBytesMax : undefined)
    const text = this.#textOf(value)
    if (isCode(text)) return []
    return this.#accepts(rule, { start: value.start, end: value.start + judgedLength(text) })
      ? [value]
      : []
  }

  /**
   * Reports whether a line that begins like a here-document is plain text, because the part after
   * the sign is not a label.
   */
  #isText(line: Span, { start, end }: Span): boolean {
    const label = this.#textOf(line).replace(/^[^<]*<+[-~]?\s*/, '')
    if (label.split(/\s+/).some((word) => looksMade(word))) return true
    return start >= end && !/^[A-Z_"']+\)?$/.test(label)
  }

  /** `password: str | None = …`: where the value begins behind a type; -1 where none is. */
  #typed(at: number): number {
    const { bytes, to } = this.#view
    const text = latin1(bytes, at, Math.min(to, at + typeBytesMax))
    const end = typeEnd(text)
    const operator = end === 0 ? null : /^\s*=\s*(?=\S)/.exec(text.slice(end))
    return operator === null ? -1 : at + end + operator[0].length
  }

  /** The values of a list or an object in brackets; null where the bracket is part of a value. */
  #listed(at: number, { rule, before }: Giving): readonly Span[] | null {
    const { bytes, to } = this.#view
    if (!mayOpenList(bytes, at, to)) return null
    const { start, end, kind } = this.#list
    const isInner = at > start && at < end && rule.kind === kind
    const line = this.#values.bare(at, 'whole', isInner ? innerListBytesMax : listBytesMax)
    const text = latin1(bytes, at, Math.min(to, line.end))
    if (!opensList(text)) return null
    this.#place.spend(STEPS.listedByte * text.length)
    const listed = listedValues(text, before === 0x2f)
    if (listed === null) return null
    if (!isInner && listed.isWhole) this.#list = { start: at, end: line.end, kind: rule.kind }
    const found: Span[] = []
    for (const { start: first, end: last, isLiteral } of listed.values) {
      const span = { start: at + first, end: at + last }
      const isKept = !isLiteral && isCode(this.#textOf(span))
      if (!isKept && this.#accepts(rule, span)) found.push(span)
    }
    return found
  }

  /** After words such as "is", or in a table: only what was made to be a secret, to the end. */
  madeWord(at: number, form: BareForm, rule: SecretRule): readonly Span[] {
    const { bytes, to } = this.#view
    const [given = ''] = excerptOf(bytes, at, Math.min(to, at + wordBytesMax)).split(/\s/, 1)
    if (isCodeWord(given)) return []
    // The word ends at the end of a literal or an element.
    const [word = ''] = given.split(/<\/|\]\(|["'`](?=[,:;)\]}+.?])/, 1)
    const bare = word.replace(/^[("'*`[]+|[)"'*`\].,;:!?|]+$/g, '')
    return looksMade(bare) && isSecretValue(rule, bare) ? [this.#values.bare(at, form)] : []
  }

  /** A block scalar: everything that is indented more than its name. */
  #block({ name, rule }: Giving, at: number): readonly Span[] {
    const block = blockBelow(this.#place, { at, indent: this.#indentOf(name, true) })
    return block === null || !this.#accepts(rule, block) ? [] : [block]
  }

  /** Returns the indent of a name's line; for a member of a list, the dash counts as well. */
  #indentOf({ start }: Span, isMember: boolean): number {
    const { bytes, from } = this.#view
    let line = start
    const first = Math.max(from, start - lineBytesMax)
    while (line > first && bytes[line - 1] !== 0x0a) line--
    const head = latin1(bytes, line, start)
    const indent = /^[ \t]*/.exec(head)?.[0].length ?? 0
    const dash = isMember ? /^[ \t]*(?:-[ \t]+)+/.exec(head) : null
    return dash?.[0].length ?? indent
  }

  /** The value stands below its name: a scalar, a list, or the one word of the next line. */
  #below({ name, rule, isMember }: Giving, at: number): readonly Span[] {
    const { bytes, to } = this.#view
    const next = excerptOf(bytes, at, Math.min(to, at + 512))
    const line = /^\s*?((?:\r?\n[ \t]*)+)([^\r\n]*)/.exec(next)
    const [whole = '', , text = ''] = line ?? []
    if (text === '') return []
    const start = at + whole.length - text.length
    if (/^(?:- )?["'\w.-]+:(?:\s|$)/.test(text) || isStructure(text)) return []
    const block = blockBelow(this.#place, { at, indent: this.#indentOf(name, isMember) })
    const isCodeLine = isCodeBelow(headOf(this.#view, name), text)
    if (isCodeLine && !/\d/.test(text)) return []
    // `the access token::` and a blank line: an example in reStructuredText, and no block of YAML.
    const isExample = /::[ \t]*$/.test(latin1(bytes, name.end, at)) && /\n[ \t\r]*\n/.test(whole)
    if (block?.start === start && !isCodeLine && !isExample) {
      return this.#accepts(rule, { start, end: Math.min(block.end, start + text.length) })
        ? [block]
        : []
    }
    return looksMade(text.trim()) && this.#accepts(rule, { start, end: start + text.length })
      ? [trimmed(bytes, start, start + text.length)]
      : []
  }

  #textOf({ start, end }: Span): string {
    this.#place.spend(STEPS.valueByte * (end - start))
    return Buffer.from(this.#view.bytes.subarray(start, end)).toString()
  }

  #accepts(rule: SecretRule, value: Span): boolean {
    return isSecretValue(rule, this.#textOf(value))
  }
}

/** `|`, `>-`, also behind a tag or an anchor: a block scalar of YAML. */
const blockHead = /^(?:[!&][^\s"'`]{0,64}[ \t]+){0,2}[|>][-+0-9]{0,2}[ \t]*(?:(?<=[ \t])#.*)?\r?\n/
/** `[`, `{ "a": 1`, `<input`: what opens something; `{Ab1x2y` is as likely a secret. */
const isStructure = (text: string): boolean =>
  /^[[{<]/.test(text) && !(looksMade(text.trim()) && !opened.test(text))
const opened = /^(?:<[\w/!?]\S*>|[[{<].+[\]}>][,;]*\s*$|[[{].+[:,=]|[[{].*(["'`]).*\1)/
const tagAlone = /^(?:[!&][\w!<>:.,-]{0,64}[ \t]*){1,2}(?=\r?\n)/
const blockHeadBytesMax = 192
const BLOCK_STARTS: ReadonlySet<number | undefined> = new Set(Buffer.from('|>!&'))
/** Of a longer line this much of the start is not looked at. */
const lineBytesMax = 256

/** A type between a name and its value. */
const typeBytesMax = 128
/** The end of a literal, and what joins it to the next. */
const joint = /^["'`]\s*(?:\+|\.|&|\|\||,|<<)?\s*/
const jointBytesMax = 64
const tagTailMax = 128

/** `pass `x``, `pin {…}`: a verb, and code. */
const isVerb = ({ kind }: SecretRule, sign: number | undefined): boolean =>
  (kind === 'pass' || kind === 'pin') && (sign === 0x60 || sign === 0x7b || sign === 0x2d)

/** More arguments of one call are not looked at. */
const argumentsMax = 4
/**
 * Of a list in another one, whose values were judged with those of that one by the same kind of
 * name.
 */
const innerListBytesMax = 256
/** A comment between a name and its value. */
const commentBytesMax = 96
/** Maximum length of a word in a sentence. */
export const wordBytesMax = 256
/** Digits of a PIN or a verification code, and some more. */
const shortBytesMax = 24

/** Maximum length of the text that is judged; all of a longer one is a secret. */
const judgedMax = 320

function judgedLength(text: string): number {
  const length = Buffer.byteLength(text)
  if (length > judgedMax) return length
  let signs = 0
  while (signs < text.length && ';,'.includes(text.charAt(text.length - 1 - signs))) signs++
  return length - signs
}

const isWhite = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x09 || isLineEnd(byte)

/** Of these no value has a blank. */
const WORD_KINDS: ReadonlySet<SecretKind> = new Set(['pin', 'code', 'pass', 'token'] as const)

function formOf(
  rule: SecretRule,
  how: { kind: string; before: number; isOption: boolean; isArgument: boolean },
): BareForm {
  // `["--passphrase=two words"]`: the element is the argument, as no shell has to divide it.
  if (how.isArgument) return 'argument'
  if (how.isOption) return 'word'
  if (how.kind === 'cell') return 'cell'
  // `?pass=`, `&pass=`, `;pass=`
  if (how.before === 0x3f || how.before === 0x26) return 'query'
  if (rule.kind === 'cookie' || rule.kind === 'login') return 'whole'
  return WORD_KINDS.has(rule.kind) ? 'word' : 'line'
}

/** Returns the length of `Bearer `, `Basic `: the word that names the scheme stays readable. */
function schemeLength(bytes: Uint8Array, at: number, to: number, rule: SecretRule): number {
  if (rule.kind !== 'login') return 0
  const scheme = /^(?:Bearer|Basic|Digest|Token|ApiKey|Negotiate|DPoP)[ \t]+/i
  return scheme.exec(latin1(bytes, at, Math.min(to, at + 24)))?.[0].length ?? 0
}
