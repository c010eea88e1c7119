import { excerptOf } from './ascii.ts'
import { STEPS } from './inspection-work.ts'
import { withoutSeparators } from './trailing.ts'
import type { Span, View } from './view.ts'
import { type Element, tagEnd } from './xml-tags.ts'

/** How far a pair or a tag is looked for to either side of a name in it. */
const besideBytesMax = 512
const valueMembers = 'value|values|val|content|data|default|password|stringValue|secret'
const attribute = new RegExp(`\\s(?:${valueMembers})\\s*=\\s*("[^"]*"|'[^']*')`, 'i')

/** Attributes that hold names: a label's `for` does not say that its content is a value. */
const namingAttribute =
  /\s(name|key|property|param|field|var|setting|attribute|id|type)\s*=\s*["']?$/i

/**
 * The value of a name that is a value itself: `<add value="…" key="password"/>`,
 * `<property name="password"><value>…`, `'value': '…', 'name': 'password'`.
 */
export function beside(
  { view, spend }: { view: View; spend(steps: number): void },
  name: Span,
  accepts: (start: number, end: number) => boolean,
  contentOf: (tag: number) => Element | undefined,
): readonly Span[] {
  const { bytes, from } = view
  if (!isValuePlace(bytes[name.start - 1])) return []
  const first = Math.max(from, name.start - besideBytesMax)
  spend(STEPS.valueByte * (name.start - first))
  const before = excerptOf(bytes, first, name.start)
  if (!/[:=>]\s*(?:\\*["'`])?$/.test(before)) return []
  const tag = before.lastIndexOf('<')
  const named = tag >= 0 ? namingAttribute.exec(before) : null
  const span =
    named === null
      ? valueBefore(before, first, spend)
      : inTag(view, first + tag, /id|type/i.test(named[1] ?? '') ? () => undefined : contentOf)
  return span !== null && span.end > span.start && accepts(span.start, span.end) ? [span] : []
}

/** Behind a quote, an operator, a tag or a blank. */
function isValuePlace(byte: number | undefined): boolean {
  return byte !== undefined && byte < 0x80 && !/[\w.-]/.test(String.fromCharCode(byte))
}

function inTag(
  { bytes, to }: View,
  tag: number,
  contentOf: (tag: number) => Element | undefined,
): Span | null {
  const end = tagEnd(bytes, tag + 1, to)
  if (end < 0) return null
  const found = attribute.exec(excerptOf(bytes, tag, end))
  if (found !== null) {
    const start = tag + found.index + found[0].length - (found[1] ?? '').length + 1
    return { start, end: start + (found[1] ?? '').length - 2 }
  }
  const content = contentOf(tag)
  return content === undefined ? null : { start: content.from, end: content.to }
}

const naming =
  /(?:^|[\s,{;(-])(?:\\*["'`])?(?:name|key|field|header|param|parameter|property|variable|var|env|attribute|setting|type)(?:\\*["'`])?\s*(?::|=>?)\s*(?:\\*["'`])?$/i
const holding = new RegExp(
  `(?:^|[\\s,{;(-])(?:\\\\*["'\`])?(?:${valueMembers})(?:\\\\*["'\`])?\\s*(?::|=>?)\\s*(\\\\*["'\`])?$`,
  'i',
)

/** The value of the pair that ends where the one with the name begins. */
function valueBefore(before: string, first: number, spend: (steps: number) => void): Span | null {
  const own = naming.exec(before)
  if (own === null) return null
  const text = withoutSeparators(before.slice(0, own.index))
  const quote = /["'`]$/.exec(text)?.[0]
  if (quote !== undefined) {
    const closing = withoutBackslashes(text.slice(0, -1))
    for (let at = closing.lastIndexOf(quote); at >= 0; at = closing.lastIndexOf(quote, at - 1)) {
      spend(STEPS.pairStart)
      if (holding.test(closing.slice(Math.max(0, at - 32), at + 1)))
        return { start: first + at + 1, end: first + closing.length }
      if (at === 0) break
    }
    return null
  }
  const line = Math.max(text.lastIndexOf('\n'), text.lastIndexOf(',')) + 1
  const sign = /^[\s{(-]*\w+\s*(?::|=>?)\s*/.exec(text.slice(line))
  if (sign === null || !holding.test(sign[0])) return null
  return { start: first + line + sign[0].length, end: first + text.length }
}

function withoutBackslashes(text: string): string {
  let end = text.length
  while (text.charCodeAt(end - 1) === 0x5c) end--
  return text.slice(0, end)
}
