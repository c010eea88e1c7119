import { STEPS } from '../inspection-work.ts'
import { excerptOf, latin1 } from '../text/ascii.ts'
import {
  isLineEnd,
  isOpener,
  isQuoteSign,
  type LineContext,
  openerOf,
} from '../text/line-context.ts'
import type { Span } from '../text/view.ts'

/** A text, and where the line of the name stands in it. */
export interface Place {
  readonly bytes: Uint8Array
  readonly to: number
  /** Offset in the body of each byte; null if the text is the body. */
  readonly map: Int32Array | null
  /** Of the value that is read next. */
  context: LineContext
  spend(steps: number): void
}

/** Rules for the end of a value without quotes. */
export type BareForm = 'line' | 'whole' | 'query' | 'word' | 'cell' | 'argument'

/**
 * Signs before a quote that belong to the literal: `b'…'`, `@"…"`, `SecretStr("…")`, `!!str "…"`.
 */
const literalStart =
  /^(?:[!&][^\s"'`]{0,64}[ \t]+){0,2}(?:\(\s*)?(?:(?:new\s+)?(?:[A-Za-z_]\w*\.)*(?:SecretStr|SecretString|SecureString|Secret|String|str|bytes|Some|from|encode|quote|to_string)\(\s*)?(?:[bBuUrRfFLN]{1,2}|\$?@|@?\$|%[qQ]|b?r#{1,8})?(\\*)("""|'''|["'`]|\xe2\x80[\x98\x9c\x9e\xb9]|\xc2\xab)/
const literalStartBytes = 160
/** A comment behind a literal of several, to the end of its line. */
const jointComment = /(?:#|\/\/|--)[^\r\n]{0,80}(?=\r?\n)/g
/**
 * The text between two literals that a language joins: an operator, line ends, the next one's
 * prefix.
 */
const literalJoint =
  /^[ \t]*(?:\\?(?:(?:#|\/\/|--)[^\r\n]{0,80})?\r?\n[ \t]*){0,3}(?:(\+\+?|[.&~^]|\|\||\.\.|<>)[ \t]*(?:(?:_[ \t]*)?(?:(?:#|\/\/|--)[^\r\n]{0,80})?\r?\n[ \t]*)?)?(?:(?<=[\s+.&~^|<>])(?:[bBuUrRfFLN]{1,2}|\$?@|@?\$))?(\\*)(["'`])/
/** Backslashes of eight layers of JSON; more begin no string. */
const backslashesMax = 255

const TYPOGRAPHIC: ReadonlyMap<string, readonly string[]> = new Map([
  ['\xe2\x80\x98', ['\xe2\x80\x99', '\xe2\x80\x98']],
  ['\xe2\x80\x9c', ['\xe2\x80\x9d']],
  ['\xe2\x80\x9e', ['\xe2\x80\x9c', '\xe2\x80\x9d']],
  ['\xe2\x80\xb9', ['\xe2\x80\xba']],
  ['\xc2\xab', ['\xc2\xbb']],
])

/**
 * Reads the values of one text. Searches that found nothing are remembered by their quote: from a
 * later place there is nothing, either, and each byte is read a bounded number of times.
 */
export class ValueReader {
  readonly #place: Place
  readonly #unclosed = new Set<string>()

  constructor(place: Place) {
    this.#place = place
  }

  /** See `heredocAt`. */
  heredoc(at: number): Span | null {
    return heredocAt(this.#place, at, this.#unclosed)
  }

  /**
   * The literal that begins at `at`, with those that are joined to it; null where there is none.
   */
  quoted(at: number): Span | null {
    const { bytes, to } = this.#place
    const text = excerptOf(bytes, at, Math.min(to, at + literalStartBytes))
    // Most values have no quote at all.
    if (!/["'`\x80-\xff]/.test(text)) return null
    const start = literalStart.exec(text)
    if (start === null) return null
    const [{ length }, slashes = '', sign = ''] = [start[0], start[1], start[2]]
    if (slashes.length > backslashesMax) return null
    const from = at + length
    const hashes = /r(#+)/.exec(start[0].slice(0, -1))?.[1] ?? ''
    const end =
      hashes === ''
        ? this.#closing(from, slashes.length, sign)
        : this.#closingRaw(from, `"${hashes}`)
    if (end < 0) return null
    const isOpen = start[0].includes('(')
    const last = this.#joined({ end, isOpen }, slashes.length, sign)
    // `"Ab1"tail`: shells read on until a blank.
    const quoteEnd = last + slashes.length + sign.length
    const isClosed = start[0].startsWith('(') && bytes[quoteEnd] === 0x29
    const after = isClosed ? quoteEnd + 1 : quoteEnd
    if (hashes !== '' || slashes.length > 0 || after >= to || this.#endsLiteral(after))
      return { start: from, end: last }
    const tail = this.bare(after, 'word')
    const isTail = /[\w"'`\x80-\xff]/.test(excerptOf(bytes, after, tail.end))
    return { start: from, end: isTail ? tail.end : last }
  }

  /**
   * Reports whether the text behind a closing quote separates it from the rest, or begins an
   * escape.
   */
  #endsLiteral(at: number): boolean {
    const { bytes } = this.#place
    const sign = String.fromCharCode(bytes[at] as number)
    const next = bytes[at + 1]
    if (sign === '/') return next === 0x3e
    if (sign === '\\') return next === 0x6e || next === 0x72 || next === 0x74
    return /[\s,;:)\]}<>|&=?]/.test(sign)
  }

  /** The place of the quote that closes, backslashes included; -1 where none does. */
  #closing(from: number, backslashes: number, sign: string): number {
    const identity = `${backslashes}${sign}`
    if (this.#unclosed.has(identity)) return -1
    const end =
      sign.charCodeAt(0) >= 0x80
        ? this.#closingTypographic(from, sign)
        : this.#closingQuote(from, backslashes, sign)
    this.#place.spend(STEPS.valueByte * ((end < 0 ? this.#place.to : end) - from))
    if (end < 0) this.#unclosed.add(identity)
    return end
  }

  /** `r#"…"#`: nothing but a quote and as many hashes. */
  #closingRaw(from: number, closing: string): number {
    if (this.#unclosed.has(closing)) return -1
    const { bytes, to } = this.#place
    const end = Buffer.from(bytes.buffer, bytes.byteOffset, to).indexOf(closing, from)
    this.#place.spend(STEPS.valueByte * ((end < 0 ? to : end) - from))
    if (end < 0) this.#unclosed.add(closing)
    return end
  }

  #closingTypographic(from: number, sign: string): number {
    const { bytes, to } = this.#place
    const ends = TYPOGRAPHIC.get(sign) ?? []
    for (let i = from; i < to; i++) {
      if ((bytes[i] as number) < 0x80) continue
      if (ends.some((end) => latin1(bytes, i, Math.min(to, i + end.length)) === end)) return i
    }
    return -1
  }

  /**
   * A quote with as many backslashes as the opening one, or fewer: then the string around it ends.
   * One with more is escaped, and two of them stand for one (YAML, SQL, CSV).
   */
  #closingQuote(from: number, backslashes: number, sign: string): number {
    const { bytes, to } = this.#place
    const code = sign.charCodeAt(0)
    let slashes = 0
    for (let i = from; i < to; i++) {
      const byte = bytes[i] as number
      if (byte === 0x5c) {
        slashes++
        continue
      }
      const own = slashes
      slashes = 0
      if (byte !== code || !closes(own, backslashes)) continue
      if (sign.length === 3) {
        if (bytes[i + 1] === code && bytes[i + 2] === code) return i - own
        continue
      }
      const isDoubled = own === 0 && i > from && bytes[i + 1] === code && i + 1 < to
      if (!isDoubled) return i - own
      i++
    }
    return -1
  }

  /** `"a" "b"`, `"a" + "b"`: languages join what stands like this. */
  #joined(
    closed: { readonly end: number; readonly isOpen: boolean },
    backslashes: number,
    sign: string,
  ): number {
    const { bytes, to } = this.#place
    let { end } = closed
    for (;;) {
      const after = end + backslashes + sign.length
      const excerpt = excerptOf(bytes, after, Math.min(to, after + literalStartBytes))
      const next = literalJoint.exec(excerpt)
      if (next === null) return end
      const [{ length }, operator, slashes = '', quote = ''] = [next[0], next[1], next[2], next[3]]
      const between = next[0].replaceAll(jointComment, '')
      // In one list or object, a name follows on the next line.
      const isJoint = closed.isOpen || operator !== undefined || between.includes('\\')
      const isBelow = !isJoint && between.includes('\n')
      if (slashes.length !== backslashes || length === backslashes + 1) return end
      const till = this.#closing(after + length, backslashes, quote)
      if (till < 0) return end
      if (isBelow && !this.#endsAlone(till + backslashes + sign.length)) return end
      end = till
    }
  }

  /**
   * Reports whether a literal in a line of its own is part of an expression, rather than the name
   * of a member or a sentence.
   */
  #endsAlone(at: number): boolean {
    const { bytes, to } = this.#place
    return /^[ \t]*(?:[;)]|,(?!\s*["'`])|\r?\n[ \t]*["'`;)])/.test(
      excerptOf(bytes, at, Math.min(to, at + 64)),
    )
  }

  /**
   * Text without quotes, to where its line or what was opened before ends, or another name begins.
   */
  bare(at: number, form: BareForm, bytesMax: number = Number.POSITIVE_INFINITY): Span {
    const { bytes, context, spend } = this.#place
    const to = Math.min(this.#place.to, at + bytesMax)
    let depth = 0
    let slashes = 0
    let i = at
    for (; i < to; i++) {
      const byte = bytes[i] as number
      if (isLineEnd(byte)) {
        const next = this.#continued(i, slashes, at)
        if (next < 0) break
        slashes = 0
        i = next - 1
        continue
      }
      if (byte === 0x5c) {
        const letter = bytes[i + 1]
        if (context.isQuoted && slashes === 0 && (letter === 0x6e || letter === 0x72)) break
        slashes++
        continue
      }
      if (isQuoteSign(byte) && context.closes({ sign: byte, backslashes: slashes })) {
        i -= slashes
        break
      }
      slashes = 0
      if (isOpener(byte)) depth++
      else if (openerOf(byte) !== undefined) {
        if (depth > 0) depth--
        else if (context.closesBracket(byte)) break
      } else if (endsBare(this.#place, { at: i, to, from: at }, form)) break
    }
    spend(STEPS.valueByte * (i - at))
    let end = i
    while (end > at && (bytes[end - 1] === 0x20 || bytes[end - 1] === 0x09)) end--
    return { start: at, end }
  }

  /**
   * Returns where the line that ends at `at` continues, if it ends with a continuation sign and no
   * option follows; or -1.
   */
  #continued(at: number, slashes: number, from: number): number {
    const { bytes, to } = this.#place
    const sign = bytes[at - 1]
    const goesOn = at > from && (slashes % 2 === 1 || sign === 0x5e || sign === 0x60)
    if (!goesOn) return -1
    let next = bytes[at] === 0x0d && bytes[at + 1] === 0x0a ? at + 2 : at + 1
    while (next < to && (bytes[next] === 0x20 || bytes[next] === 0x09)) next++
    return next >= to || bytes[next] === 0x2d || isLineEnd(bytes[next]) ? -1 : next
  }
}

/** An escaped quote has twice the backslashes of the one around it, and one more. */
function closes(own: number, opening: number): boolean {
  if (own <= opening) return true
  // A value that ends in backslashes: `"C:\\"` closes, as the pairs stand for themselves.
  return opening === 0 && own % 2 === 0
}

function endsBare(
  { bytes, map, context, spend }: Place,
  range: { at: number; to: number; from: number },
  form: BareForm,
): boolean {
  const { at, to, from } = range
  const byte = bytes[at] as number
  // A blank that was written as an escape is part of a value: `password=correct%20horse`.
  const isBlank = (byte === 0x20 && !isEscaped(map, at)) || byte === 0x09
  if (byte === 0x3c) return context.hasTag && bytes[at + 1] === 0x2f
  if (form === 'word' && isBlank) return true
  // One argument, blanks included; the next option where a whole command is one string.
  if (form === 'argument') return isBlank && bytes[at + 1] === 0x2d
  if (form === 'cell' && (byte === 0x7c || byte === 0x09)) return true
  if (form === 'query' && (isBlank || byte === 0x26 || byte === 0x23 || byte === 0x22)) return true
  // `&name=`, `; name=`, `, name:`, ` name=`
  const isSeparator = byte === 0x26 || byte === 0x3b || byte === 0x2c
  // Cookies and parameters of a scheme are pairs themselves.
  if (!(isSeparator || isBlank) || at === from || form === 'whole') return false
  // In a run of blanks only the last one is tested: those before it are not part of the value,
  // either.
  if (bytes[at + 1] === 0x20 || bytes[at + 1] === 0x09) return false
  spend(STEPS.pairStart)
  return beginsPair(bytes, at + 1, to)
}

const isEscaped = (map: Int32Array | null, at: number): boolean =>
  map !== null && (map[at + 1] as number) - (map[at] as number) > 1

const pairNameMax = 48
const pairStart =
  /^[ \t]*\\*(["'`]?)(?!\d)[A-Za-z0-9_$.-]{1,40}\\*\1(?:[ \t]*=(?![=>])|:(?!\/\/)|(?<=["'`])[ \t]*=>)[ \t]*\S/

/** Reports whether a name and its operator begin here. */
function beginsPair(bytes: Uint8Array, at: number, to: number): boolean {
  return pairStart.test(excerptOf(bytes, at, Math.min(to, at + pairNameMax)))
}

/** The lines below `at` that are indented more than the name: a block of YAML. */
export function blockBelow(
  { bytes, to, spend }: Place,
  { at, indent: own }: { at: number; indent: number },
): Span | null {
  let line = lineEndAt(bytes, at, to)
  let start = -1
  let end = -1
  while (line < to) {
    const first = line + 1
    const indent = indentAt(bytes, first, to)
    const next = lineEndAt(bytes, first, to)
    // Blank lines behind the block as well: each name above them would walk over all of them.
    spend(STEPS.valueByte * (next - line) + STEPS.digitGroup)
    const text = first + indent
    if (text < next && bytes[text] !== 0x0d) {
      if (indent <= own) break
      if (start < 0) start = text
      end = next
      while (end > text && bytes[end - 1] === 0x0d) end--
    }
    line = next
  }
  return start < 0 ? null : { start, end }
}

const heredocHead = /^(?:\$\(cat )?<<(<|[-~])?[ \t]*(?:\\?["']([\w.-]+)["']|\\?([A-Za-z_][\w.-]*))/

/**
 * From the line behind `<<EOF` to the line that holds the label and nothing else; in PHP code may
 * follow it. If such a line is missing, to the end. Labels that do not begin any line are added to
 * `unclosed`: a search from a later position cannot find them either, and the first one behind
 * blanks is the end.
 */
function heredocAt({ bytes, to, spend }: Place, at: number, unclosed: Set<string>): Span | null {
  if (bytes[at] !== 0x3c && bytes[at] !== 0x24) return null
  const found = heredocHead.exec(latin1(bytes, at, Math.min(to, at + 96)))
  if (found === null) return null
  const [, sign = '', quoted = '', bare = ''] = found
  const label = quoted + bare
  const start = lineEndAt(bytes, at, to) + 1
  spend(STEPS.byte * (start - at))
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, to)
  let indented = -1
  for (
    let end = text.indexOf(label, start);
    end >= 0;
    end = text.indexOf(label, end + label.length)
  ) {
    const line = blanksBefore(bytes, end, start)
    if (bytes[line - 1] !== 0x0a || !endsLabel(bytes, end + label.length, { to, sign })) continue
    const value = { start, end: Math.max(start, line - 1) }
    if (line === end || sign !== '' || unclosed.has(`<<${label}`)) {
      spend(STEPS.valueByte * (end - start))
      return value
    }
    if (indented < 0) indented = value.end
  }
  spend(STEPS.valueByte * Math.max(0, to - start))
  if (sign === '') unclosed.add(`<<${label}`)
  return { start: Math.min(start, to), end: indented < 0 ? to : indented }
}

function blanksBefore(bytes: Uint8Array, at: number, first: number): number {
  let i = at
  while (i > first && (bytes[i - 1] === 0x20 || bytes[i - 1] === 0x09)) i--
  return i
}

/** `EOFhunter2` is text. */
function endsLabel(
  bytes: Uint8Array,
  at: number,
  { to, sign }: { to: number; sign: string },
): boolean {
  if (sign === '<')
    return at >= to || !/[\w\x80-\xff]/.test(String.fromCharCode(bytes[at] as number))
  let i = at
  while (i < to && (bytes[i] === 0x20 || bytes[i] === 0x09)) i++
  return i >= to || isLineEnd(bytes[i])
}

/** Without white space. */
export function trimmed(bytes: Uint8Array, from: number, to: number): Span {
  let [start, end] = [from, to]
  while (start < end && (bytes[start] as number) <= 0x20) start++
  while (end > start && (bytes[end - 1] as number) <= 0x20) end--
  return { start, end }
}

/** So far a loop is faster than a search. */
const nearMax = 64

export function lineEndAt(bytes: Uint8Array, at: number, to: number): number {
  const near = Math.min(to, at + nearMax)
  for (let i = at; i < near; i++) if (bytes[i] === 0x0a) return i
  // Not to the end of the body: of a text without line ends each name would read all that follows.
  const end = near < to ? bytes.subarray(near, to).indexOf(0x0a) : -1
  return end < 0 ? to : near + end
}

/** Blanks at the start of a line. */
function indentAt(bytes: Uint8Array, at: number, to: number): number {
  let i = at
  while (i < to && (bytes[i] === 0x20 || bytes[i] === 0x09)) i++
  return i - at
}
