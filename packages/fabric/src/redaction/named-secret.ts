import { ALNUM, excerptOf, KIND, latin1 } from './ascii.ts'
import { argumentPlace, argumentStart, nextArgument } from './call-arguments.ts'
import { headOf, isCodeBelow, isCodeWord, isDescribed, isSelector } from './code-place.ts'
import { STEPS } from './inspection-work.ts'
import { isLineEnd, isOpener, isQuoteSign, LineContext } from './line-context.ts'
import { isMarker } from './operators.ts'
import { isCode } from './plain-values.ts'
import { type SecretKind, type SecretRule, secretRule, VARIANT_WORDS } from './secret-names.ts'
import { isSecretValue, looksMade } from './secret-values.ts'
import { type SeparatorKind, separatorAfter } from './separators.ts'
import { typeEnd } from './type-annotation.ts'
import { type Beside, beside } from './value-beside.ts'
import { type BareForm, blockBelow, lineEndAt, type Value, ValueReader } from './value-grammar.ts'
import { listBytesMax, listedValues } from './value-lists.ts'
import type { Scan, Span, View } from './view.ts'
import { type Element, readElements, tagEnd } from './xml-tags.ts'

/** A name is read this far to either side of its stem. */
const nameBytesMax = 64

/** `password old`, `API key prod 2`: words that tell several of a name apart. */
const variantsBehind = new RegExp(
  `^(?: (?:${VARIANT_WORDS.join('|')}|\\d{1,4})){1,4}(?![\\w-])`,
  'i',
)

/** In either case. Most words behind a name begin otherwise. */
const VARIANT_STARTS: ReadonlySet<number | undefined> = new Set(
  Buffer.from(
    `0123456789${VARIANT_WORDS.map((word) => word.charAt(0) + word.charAt(0).toUpperCase()).join('')}`,
  ),
)

/** Letters, digits and what joins them in a name. */
const NAME = KIND.map((kind, byte) =>
  (kind & ALNUM) !== 0 || byte === 0x5f || byte === 0x2d || byte >= 0x80 ? 1 : 0,
)

/** The secrets of one text by the names before them: `password = …`, `<password>…`, `--token …`. */
export class NamedSecrets {
  readonly #scan: Scan
  readonly #view: View
  readonly #context: LineContext
  readonly #values: ValueReader
  #elements: Map<number, Element> | null = null
  /** Up to where everything is found already: names in there are part of a secret. */
  #foundTo = 0
  #lastEnd = -1
  /** A name of several words may begin before one of its stems. */
  #lastStart = -1
  /** Up to where an element has tags alone. */
  #emptyTo = 0
  readonly #spend = (steps: number): void => {
    this.#scan.spend(steps)
  }

  readonly #pairs: Omit<Beside, 'accepts'>

  constructor(scan: Scan) {
    this.#scan = scan
    this.#view = scan.view
    const { bytes, map, from, to } = scan.view
    this.#context = new LineContext(bytes, from)
    this.#values = new ValueReader({ bytes, map, to, context: this.#context, spend: this.#spend })
    this.#pairs = {
      view: scan.view,
      spend: this.#spend,
      tree: (tag) => this.#contentOf(tag),
      valueAt: (at, isParameter) =>
        this.#values.quoted(at) ?? this.#values.bare(at, isParameter ? 'query' : 'line'),
    }
  }

  /** To be called with each place of a stem, in their order. */
  look(at: number, length: number): void {
    if (at < this.#foundTo) return
    const { bytes, from } = this.#view
    const name = this.#nameAt(at, at + length)
    if (name.end <= this.#lastEnd && name.start >= this.#lastStart) return
    this.#lastStart = name.start
    this.#lastEnd = name.end
    if (name.start > from && isMarker(this.#view, name.start - 1)) return
    const rule = secretRule(Buffer.from(bytes.subarray(name.start, name.end)).toString())
    if (rule === null) return
    this.#scan.spend(STEPS.secretStem)
    this.#context.moveTo(name.start)
    for (const value of this.#valuesOf(name, rule)) {
      if (value.end <= value.start) continue
      const { start, end } = value
      this.#scan.found({ dataClass: rule.dataClass, detector: rule.detector, start, end })
      this.#foundTo = Math.max(this.#foundTo, end)
    }
  }

  #nameAt(at: number, stemEnd: number): Span {
    const { bytes, from, to } = this.#view
    let start = at
    const first = Math.max(from, at - nameBytesMax)
    while (start > first && isNameByte(bytes, start - 1, start > from + 1)) start--
    while (
      start < at &&
      (bytes[start] === 0x2e ||
        ((bytes[start] as number) >= 0x80 && ((bytes[start] as number) & 0xc0) === 0x80))
    )
      start++
    let end = stemEnd
    const limit = Math.min(to, end + nameBytesMax)
    while (end < limit && isNameByte(bytes, end, end + 1 < to)) end++
    while (end > stemEnd && (bytes[end - 1] === 0x2e || bytes[end - 1] === 0x2d)) end--
    return { start, end: this.#variantsEnd(start, end) }
  }

  /** The end of the words for variants behind a name, if an operator follows them; else the name's. */
  #variantsEnd(start: number, end: number): number {
    const { bytes, to } = this.#view
    // The value of an option is the next word.
    if (bytes[end] !== 0x20 || bytes[start] === 0x2d || !VARIANT_STARTS.has(bytes[end + 1]))
      return end
    const words = variantsBehind.exec(excerptOf(bytes, end, Math.min(to, end + nameBytesMax)))
    if (words === null) return end
    const last = end + words[0].length
    const separator = separatorAfter(
      bytes,
      { at: last, to },
      { isOption: false, isArgument: true, isPath: false },
    )
    if (separator === null || separator.kind === 'call') return end
    return /^ +$/.test(latin1(bytes, last, separator.end)) ? end : last
  }

  #valuesOf(name: Span, rule: SecretRule): readonly Span[] {
    const { bytes, from } = this.#view
    const before = name.start > from ? (bytes[name.start - 1] as number) : 0
    if (before === 0x2f && latin1(bytes, Math.max(from, name.start - 5), name.start) === '/etc/')
      return []
    const tag = this.#tagStart(name.start, before)
    // `<db password=…`: a name with a blank in it is none of an element.
    if (tag >= 0 && !bytes.subarray(name.start, name.end).includes(0x20))
      return this.#elementOf(tag, name, rule)
    const paired = beside({ ...this.#pairs, accepts: (value) => this.#accepts(rule, value) }, name)
    return paired ?? this.#assigned(name, rule, before) ?? []
  }

  /** The `<` of the start tag that the name stands in, also behind a prefix; -1 otherwise. */
  #tagStart(start: number, before: number): number {
    if (before === 0x3c) return start - 1
    if (before !== 0x3a) return -1
    const { bytes, from } = this.#view
    let at = start - 2
    const first = Math.max(from, at - nameBytesMax)
    while (at > first && NAME[bytes[at] as number] === 1) at--
    return bytes[at] === 0x3c ? at : -1
  }

  #contentOf(tag: number): Element | undefined {
    const { bytes, from, to } = this.#view
    this.#elements ??= readElements(bytes, { from, to }, this.#spend)
    return this.#elements.get(tag)
  }

  #elementOf(tag: number, name: Span, rule: SecretRule): readonly Span[] {
    const { bytes, to } = this.#view
    const content = this.#contentOf(tag)
    if (content !== undefined) {
      // Elements in one another would each be read to the end of the outermost.
      if (content.to <= this.#emptyTo) return []
      const value = contentOf(bytes, content)
      const text = this.#textOf(value).replaceAll(/<!\[CDATA\[|\]\]>|<[^<>]{0,64}>/g, '')
      if (text.trim() === '') this.#emptyTo = Math.max(this.#emptyTo, value.end)
      return isSecretValue(rule, text) ? [value] : []
    }
    // Not closed: what follows on the line, unless this only stands for something: `<password>`.
    const end = tagEnd(bytes, name.end, to)
    if (end < 0 || bytes[end - 2] === 0x2f) return []
    const value = this.#values.bare(end, 'word', wordBytesMax)
    // No word is that long. Judged by its end, it would be read once more for each tag in it.
    if (value.end - end === wordBytesMax) return [this.#values.bare(end, 'word')]
    const text = this.#textOf(value)
    return end === name.end + 1 && !looksMade(text) ? [] : this.#accepts(rule, value) ? [value] : []
  }

  #textOf({ start, end }: Span): string {
    this.#spend(STEPS.valueByte * (end - start))
    return Buffer.from(this.#view.bytes.subarray(start, end)).toString()
  }

  #accepts(rule: SecretRule, value: Span): boolean {
    return isSecretValue(rule, this.#textOf(value))
  }

  /** Null where nothing stands between the name and what follows. */
  #assigned(name: Span, rule: SecretRule, before: number): readonly Span[] | null {
    const { bytes, to } = this.#view
    const isOption = bytes[name.start] === 0x2d
    const place = argumentPlace(this.#view, name)
    const separator = separatorAfter(
      bytes,
      { at: name.end, to },
      { isOption, isArgument: place.isArgument, isPath: before === 0x2f },
    )
    if (separator === null) return null
    const { kind } = separator
    if (kind === 'assign' && isDescribed(headOf(this.#view, name)))
      return this.#madeWord(separator.end, 'line', rule)
    const comment = /^\/\*[^*]{0,64}\*\/[ \t]*/.exec(
      latin1(bytes, separator.end, Math.min(to, separator.end + commentBytesMax)),
    )
    const at = separator.end + (comment?.[0].length ?? 0)
    if (kind !== 'cell' && (at >= to || isLineEnd(bytes[at]))) return this.#below(name, rule, at)
    const isBlock = kind === 'assign' && (bytes[at] === 0x7c || bytes[at] === 0x3e)
    const block = isBlock
      ? /^[|>][-+0-9]*[ \t]*(?:#.*)?\r?\n/.exec(latin1(bytes, at, Math.min(to, at + 64)))
      : null
    if (block !== null) return this.#block(name, rule, at)
    if (kind === 'words' && isVerb(rule, bytes[at])) return this.#madeWord(at, 'word', rule)
    // `#password { … }`: a selector of CSS, and its rules.
    if (kind === 'words' && bytes[at] === 0x7b && (before === 0x23 || before === 0x2e)) return []
    if (kind === 'assign' && isSelector(latin1(bytes, at, Math.min(to, at + selectorBytesMax))))
      return []
    const { isSet } = place
    const next = this.#closedAt(name.end, at)
    if (next >= 0) {
      const literal = this.#values.quoted(next)
      const joined: SeparatorKind = kind === 'assign' ? 'compare' : 'pair'
      if (literal !== null) return this.#literals(literal, rule, { kind: joined, at: next, isSet })
      return next === at + 1 ? this.#madeWord(next, 'word', rule) : []
    }
    const quoted = this.#values.quoted(kind === 'pair' ? argumentStart(this.#view, at) : at)
    if (quoted !== null) return this.#literals(quoted, rule, { kind, at, isSet })
    if (kind === 'compare' || kind === 'pair' || kind === 'call') return kind === 'pair' ? null : []
    const isArgument = isOption && name.start === this.#view.from && bytes[at - 1] === 0x3d
    return this.#bareAfter(at, rule, { kind, before, isOption, isArgument })
  }

  /**
   * Where the next literal may begin if the one with the name ends at `at`: `"password: " + "…"`; -1
   * where a quote there opens the value.
   */
  #closedAt(nameEnd: number, at: number): number {
    const { bytes, to } = this.#view
    const sign = bytes[at] as number
    if (!isQuoteSign(sign) || bytes.subarray(nameEnd, at).includes(sign)) return -1
    if (!this.#context.closes({ sign, backslashes: 0 })) return -1
    return at + (joint.exec(latin1(bytes, at, Math.min(to, at + jointBytesMax)))?.[0].length ?? 1)
  }

  /** After an operator, or in a call, a list or a table: the literals that count. */
  #literals(
    quoted: Value,
    rule: SecretRule,
    how: { kind: SeparatorKind; at: number; isSet: boolean },
  ): readonly Span[] | null {
    const { kind, at, isSet } = how
    if (kind === 'call') return this.#arguments(quoted, rule)
    const isMade = kind === 'assign' || kind === 'compare' || kind === 'words' || isSet
    if (!this.#accepts(rule, quoted)) return kind === 'assign' ? this.#tail(quoted, rule, at) : []
    return isMade || looksMade(this.#textOf(quoted)) ? [quoted] : null
  }

  /** `setPassword("user", "…")`: which of them is the secret is not told. */
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
    const value = this.#values.bare(at, 'line', wordBytesMax)
    const rest = value.end <= end ? '' : this.#textOf({ start: end, end: value.end })
    const isMade = looksMade(rest.replaceAll(/["'`()[\]{},;\s]/g, ''))
    return isMade && this.#accepts(rule, value) ? [value] : []
  }

  #bareAfter(
    given: number,
    rule: SecretRule,
    how: { kind: string; before: number; isOption: boolean; isArgument: boolean },
  ): readonly Span[] {
    const { bytes, to } = this.#view
    const at = given + schemeLength(bytes, given, to, rule)
    const form = formOf(rule, how)
    if (isOpener(bytes[at] as number)) {
      const listed = this.#listed(at, rule)
      if (listed !== null) return listed
    }
    if (how.kind !== 'assign' && !how.isOption) return this.#madeWord(at, form, rule)
    const heredoc = this.#heredoc(at)
    if (heredoc !== null) return [heredoc]
    // Another option. Read to its end first, a list of them would be read once for each.
    if (how.isOption && bytes[at] === 0x2d) return []
    const isShort = rule.kind === 'code'
    const value = this.#values.bare(at, form, isShort ? shortBytesMax : undefined)
    const text = this.#textOf(value)
    const typed = this.#typed(at)
    if (typed !== null) return this.#accepts(rule, typed) ? [typed] : []
    if (isCode(text)) return []
    return this.#accepts(rule, { start: value.start, end: value.start + judgedLength(text) })
      ? [value]
      : []
  }

  /** `password: str | None = "…"`: a type, then the value. */
  #typed(at: number): Value | null {
    const { bytes, to } = this.#view
    const text = latin1(bytes, at, Math.min(to, at + typeBytesMax))
    const end = typeEnd(text)
    const operator = end === 0 ? null : /^\s*=\s*(?=\S)/.exec(text.slice(end))
    return operator === null ? null : this.#values.quoted(at + end + operator[0].length)
  }

  /** The values of a list or an object in brackets; null where the bracket is part of a value. */
  #listed(at: number, rule: SecretRule): readonly Span[] | null {
    const { bytes, to } = this.#view
    const line = this.#values.bare(at, 'whole', listBytesMax)
    const text = latin1(bytes, at, Math.min(to, line.end))
    const values = listedValues(text)
    if (values === null) return null
    const found: Span[] = []
    for (const { start, end, isLiteral } of values) {
      const span = { start: at + start, end: at + end }
      const isKept = !isLiteral && isCode(this.#textOf(span))
      if (!isKept && this.#accepts(rule, span)) found.push(span)
    }
    return found
  }

  /** After words such as "is", or in a table: only what was made to be a secret, to the end. */
  #madeWord(at: number, form: BareForm, rule: SecretRule): readonly Span[] {
    const { bytes, to } = this.#view
    const [given = ''] = excerptOf(bytes, at, Math.min(to, at + wordBytesMax)).split(/\s/, 1)
    if (isCodeWord(given)) return []
    // Where a literal or an element ends, the word does, too.
    const [word = ''] = given.split(/<\/|\]\(|["'`](?=[,:;)\]}+.?])/, 1)
    const bare = word.replace(/^[("'*`[]+|[)"'*`\].,;:!?|]+$/g, '')
    return looksMade(bare) && isSecretValue(rule, bare) ? [this.#values.bare(at, form)] : []
  }

  /** A block scalar: everything that is indented more than its name. */
  #block(name: Span, rule: SecretRule, at: number): readonly Span[] {
    const { bytes, to } = this.#view
    const block = blockBelow(bytes, { at, to, lineStart: this.#lineStart(name.start) })
    this.#spend(STEPS.valueByte * ((block?.end ?? at) - at))
    return block === null || !this.#accepts(rule, block) ? [] : [block]
  }

  #lineStart(at: number): number {
    const { bytes, from } = this.#view
    let i = at
    const first = Math.max(from, at - 4 * nameBytesMax)
    while (i > first && bytes[i - 1] !== 0x0a) i--
    return i
  }

  /** The value stands below its name: a scalar, a list, or the one word of the next line. */
  #below(name: Span, rule: SecretRule, at: number): readonly Span[] {
    const { bytes, to } = this.#view
    const next = excerptOf(bytes, at, Math.min(to, at + 512))
    const line = /^\s*?((?:\r?\n[ \t]*)+)([^\r\n]*)/.exec(next)
    const [whole = '', , text = ''] = line ?? []
    if (text === '') return []
    const start = at + whole.length - text.length
    if (/^(?:- )?["'\w.-]+:(?:\s|$)|^[[{<]/.test(text)) return []
    const block = blockBelow(bytes, { at, to, lineStart: this.#lineStart(name.start) })
    this.#spend(STEPS.valueByte * ((block?.end ?? at) - at))
    const isCodeLine = isCodeBelow(headOf(this.#view, name), text)
    if (isCodeLine && !/\d/.test(text)) return []
    if (block?.start === start && !isCodeLine) {
      return this.#accepts(rule, { start, end: Math.min(block.end, start + text.length) })
        ? [block]
        : []
    }
    return looksMade(text.trim()) && this.#accepts(rule, { start, end: start + text.length })
      ? [trimmed(bytes, start, start + text.length)]
      : []
  }

  /** `<<EOF` to the line that says so. */
  #heredoc(at: number): Span | null {
    const { bytes, to } = this.#view
    if (bytes[at] !== 0x3c && bytes[at] !== 0x24) return null
    const head = latin1(bytes, at, Math.min(to, at + 64))
    const found = /^(?:\$\(cat )?<<[-~]?\s*\\?["']?(\w+)["']?/.exec(head)
    if (found === null) return null
    const start = lineEndAt(bytes, at, to) + 1
    const end = Buffer.from(bytes.buffer, bytes.byteOffset, to).indexOf(
      `\n${found[1] ?? ''}`,
      start - 1,
    )
    return { start, end: end < start ? to : end }
  }
}

/** A type between a name and its value. */
const typeBytesMax = 128
/** The end of a literal, and what joins it to the next. */
const joint = /^["'`]\s*(?:\+|\.|&|\|\||,|<<)?\s*/
const jointBytesMax = 64
const tagTailMax = 128
const selectorBytesMax = 48

/** `pass `x``, `pin {…}`: a verb, and code. */
const isVerb = ({ kind }: SecretRule, sign: number | undefined): boolean =>
  (kind === 'pass' || kind === 'pin') && (sign === 0x60 || sign === 0x7b || sign === 0x2d)

/** More arguments of one call are not looked at. */
const argumentsMax = 4
/** A comment between a name and its value. */
const commentBytesMax = 96
/** A word in a sentence is no longer. */
const wordBytesMax = 256
/** Digits of a PIN or a verification code, and some more. */
const shortBytesMax = 24

/** How much of a text is judged; all of a longer one is a secret. */
const judgedMax = 320

function judgedLength(text: string): number {
  const length = Buffer.byteLength(text)
  if (length > judgedMax) return length
  let signs = 0
  while (signs < text.length && ';,'.includes(text.charAt(text.length - 1 - signs))) signs++
  return length - signs
}

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

/** `Bearer `, `Basic `: the word that says what the rest is stays readable. */
function schemeLength(bytes: Uint8Array, at: number, to: number, rule: SecretRule): number {
  if (rule.kind !== 'login') return 0
  const scheme = /^(?:Bearer|Basic|Digest|Token|ApiKey|Negotiate|DPoP)[ \t]+/i
  return scheme.exec(latin1(bytes, at, Math.min(to, at + 24)))?.[0].length ?? 0
}

/** Without white space, and without what marks it as CDATA. */
function contentOf(bytes: Uint8Array, { from, to }: Element): Span {
  const { start, end } = trimmed(bytes, from, to)
  const isCdata =
    latin1(bytes, start, Math.min(end, start + 9)) === '<![CDATA[' &&
    latin1(bytes, Math.max(start, end - 3), end) === ']]>' &&
    bytes.indexOf(0x5d, start + 9) === end - 3
  return isCdata ? { start: start + 9, end: end - 3 } : { start, end }
}

function trimmed(bytes: Uint8Array, from: number, to: number): Span {
  let [start, end] = [from, to]
  while (start < end && (bytes[start] as number) <= 0x20) start++
  while (end > start && (bytes[end - 1] as number) <= 0x20) end--
  return { start, end }
}

/** U+0080 to U+00BF and the blocks of signs from U+2000 on join no name. */
function isNameByte(bytes: Uint8Array, at: number, hasMore: boolean): boolean {
  const byte = bytes[at] as number
  if (byte === 0x2e) return hasMore
  return NAME[byte] === 1 && byte !== 0xc2 && byte !== 0xe2
}
