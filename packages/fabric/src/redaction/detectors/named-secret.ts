import { STEPS } from '../inspection-work.ts'
import { ALNUM, excerptOf, KIND, latin1 } from '../text/ascii.ts'
import { isQuoteSign, LineContext } from '../text/line-context.ts'
import { separatorAfter } from '../text/separators.ts'
import type { Scan, Span, View } from '../text/view.ts'
import { argumentPlace } from './call-arguments.ts'
import { headOf, isAccount, isDescribed } from './code-place.ts'
import { GivenValues, wordBytesMax } from './given-values.ts'
import { isMarker } from './operators.ts'
import { type SecretRule, secretRule, VARIANT_WORDS } from './secret-names.ts'
import { isSecretValue, looksMade } from './secret-values.ts'
import { type Beside, beside, both } from './value-beside.ts'
import { type Place, trimmed, ValueReader } from './value-grammar.ts'
import { heldIn, textIn } from './xml-content.ts'
import { type Element, readElements, tagEnd } from './xml-tags.ts'

/** A name is read this far to either side of its stem. */
const nameBytesMax = 64

/** Of the value of an attribute, the quote, and the end of the tag. */
const endOfTag = /^[\])*:.]{0,4}\\*["']\s*\/?>\s*/
const tagTailBytesMax = 64
const accountBytesMax = 160

/** Matches words that distinguish several secrets of one name: `password old`, `API key prod 2`. */
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

interface Name extends Span {
  /** Offset at which words for variants begin. */
  readonly plainEnd: number
}

/** The secrets of one text by the names before them: `password = …`, `<password>…`, `--token …`. */
export class NamedSecrets {
  readonly #scan: Scan
  readonly #view: View
  readonly #context: LineContext
  readonly #place: Place
  readonly #values: ValueReader
  readonly #given: GivenValues
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

  readonly #pairs: Omit<Beside, 'accepts' | 'valuesAt'>

  constructor(scan: Scan) {
    this.#scan = scan
    this.#view = scan.view
    const { bytes, map, from, to } = scan.view
    this.#context = new LineContext(bytes, from)
    const place: Place = { bytes, map, to, context: this.#context, spend: this.#spend }
    this.#place = place
    this.#values = new ValueReader(place)
    this.#given = new GivenValues(scan.view, place, this.#values)
    this.#pairs = {
      view: scan.view,
      spend: this.#spend,
      tree: (tag) => this.#contentOf(tag),
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
    this.#moveBehind(name)
    for (const value of this.#valuesOf(name, rule)) {
      if (value.end <= value.start) continue
      const { start, end } = value
      this.#scan.found({ dataClass: rule.dataClass, detector: rule.detector, start, end })
      this.#foundTo = Math.max(this.#foundTo, end)
    }
  }

  /**
   * Closes, for the value, the quotes that close around the name: otherwise the next quote of the
   * kind would end the value, as in `{'password': ['…']}`.
   */
  #moveBehind({ end }: Span): void {
    const { bytes } = this.#view
    this.#context.moveTo(end)
    let at = end
    while (bytes[at] === 0x5c) at++
    const quote = { sign: bytes[at] as number, backslashes: at - end }
    // Behind a name a quote opens nothing, whatever stands before it on the line.
    if (isQuoteSign(quote.sign)) this.#context.close(quote, at + 1)
  }

  #nameAt(at: number, stemEnd: number): Name {
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
    return { start, end: this.#variantsEnd(start, end), plainEnd: end }
  }

  /**
   * The end of the words for variants behind a name, if an operator follows them; else the name's.
   */
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

  #valuesOf(name: Name, rule: SecretRule): readonly Span[] {
    const { bytes, from, to } = this.#view
    const before = name.start > from ? (bytes[name.start - 1] as number) : 0
    if (before === 0x2f && latin1(bytes, Math.max(from, name.start - 5), name.start) === '/etc/') {
      if (isAccount(latin1(bytes, name.start, Math.min(to, name.start + accountBytesMax))))
        return []
      // Not the name of a pair: `path: /etc/passwd`, and its content.
      return this.#assigned(name, rule, before) ?? []
    }
    const tag = this.#tagStart(name.start, before)
    // `<user pass=…`: a name with a blank in it is none of an element.
    if (tag >= 0 && !bytes.subarray(name.start, name.plainEnd).includes(0x20)) {
      const found = this.#elementOf(tag, name, rule)
      if (found !== null) return found
    }
    const place: Beside = {
      ...this.#pairs,
      accepts: (value) => this.#accepts(rule, value),
      valuesAt: (at, key) => this.#pairedAt(at, key, rule),
    }
    // A name in a value may have a value of its own there, too: `title: 'password: …', text: '…'`.
    const paired = beside(place, name)
    const text = paired === null ? -1 : this.#textBehindTag(name.end)
    if (text < 0) return both(paired, this.#assigned(name, rule, before)) ?? []
    const isTag = this.#view.bytes[text] === 0x3c
    return isTag ? (paired ?? []) : (both(paired, this.#given.madeWord(text, 'word', rule)) ?? [])
  }

  /**
   * Returns the start of the text after a quote and the end of a tag, which is not an operator; or
   * -1.
   */
  #textBehindTag(at: number): number {
    const { bytes, to } = this.#view
    const end = endOfTag.exec(latin1(bytes, at, Math.min(to, at + tagTailBytesMax)))
    return end === null ? -1 : at + end[0].length
  }

  /** The values at `at`, behind `key`, that belong to a name elsewhere. */
  #pairedAt(at: number, key: Span, rule: SecretRule): readonly Span[] {
    this.#place.context = this.#context.elsewhere(at)
    const before = this.#view.bytes[key.start - 1] ?? 0
    const values = this.#given.after(at, {
      ...{ rule, name: key, kind: 'assign', before },
      ...{ isOption: false, isSet: true, isMember: true },
    })
    this.#place.context = this.#context
    return values ?? []
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

  /** Returns the values of the element and of its attributes; null where the tag has no end. */
  #elementOf(
    tag: number,
    { start, end, plainEnd }: Name,
    rule: SecretRule,
  ): readonly Span[] | null {
    const { bytes, to } = this.#view
    // `<password encrypted="false">`: what would be a word for a variant is an attribute.
    const name = { start, end: plainEnd }
    const tagged = tagEnd(bytes, plainEnd, to)
    if (tagged < 0) return end === plainEnd ? [] : null
    const place = { start: tag, end: tagged }
    return [...this.#heldIn(place, name, rule), ...this.#contentIn(place, name, rule)]
  }

  #heldIn(tag: Span, name: Span, rule: SecretRule): readonly Span[] {
    if (tag.end <= name.end + 2) return []
    this.#spend(STEPS.valueByte * (tag.end - tag.start))
    const held = heldIn(latin1(this.#view.bytes, tag.start, tag.end))
    this.#spend(STEPS.namedValue * held.length)
    return held
      .map(({ start, end }) => ({ start: tag.start + start, end: tag.start + end }))
      .filter((value) => this.#accepts(rule, value))
  }

  #contentIn({ start, end }: Span, name: Span, rule: SecretRule): readonly Span[] {
    const { bytes } = this.#view
    const content = this.#contentOf(start)
    if (content !== undefined) {
      // Elements in one another would each be read to the end of the outermost.
      if (content.to <= this.#emptyTo) return []
      const value = contentOf(bytes, content)
      const text = textIn(this.#textOf(trimmed(bytes, content.from, content.to)), () =>
        this.#spend(STEPS.namedValue),
      )
      if (text.trim() === '') this.#emptyTo = Math.max(this.#emptyTo, value.end)
      return isSecretValue(rule, text) ? [value] : []
    }
    // Not closed: what follows on the line, unless this only stands for something: `<password>`.
    if (bytes[end - 2] === 0x2f) return []
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
    this.#context.moveTo(separator.end)
    if (kind === 'assign' && isDescribed(headOf(this.#view, name)))
      return this.#given.madeWord(separator.end, 'line', rule)
    return this.#given.after(separator.end, {
      ...{ rule, name, kind, before, isOption },
      ...{ isSet: place.isSet, isMember: false },
    })
  }
}

/** Without white space, and without what marks it as CDATA. */
function contentOf(bytes: Uint8Array, { from, to }: Element): Span {
  const { start, end } = trimmed(bytes, from, to)
  const isCdata =
    latin1(bytes, start, Math.min(end, start + 9)) === '<![CDATA[' &&
    Buffer.from(bytes.buffer, bytes.byteOffset, end).indexOf(']]>', start + 9) === end - 3
  return isCdata ? { start: start + 9, end: end - 3 } : { start, end }
}

/** U+0080 to U+00BF and the blocks of signs from U+2000 on join no name. */
function isNameByte(bytes: Uint8Array, at: number, hasMore: boolean): boolean {
  const byte = bytes[at] as number
  if (byte === 0x2e) return hasMore
  return NAME[byte] === 1 && byte !== 0xc2 && byte !== 0xe2
}
