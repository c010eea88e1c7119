import { STEPS } from '../inspection-work.ts'
import { excerptOf } from '../text/ascii.ts'
import type { Span, View } from '../text/view.ts'
import { pairRole, partnersOf, type RowKey } from './pair-roles.ts'
import { looksMade } from './secret-values.ts'
import { trimmed } from './value-grammar.ts'
import { type Element, tagEnd } from './xml-tags.ts'

/** Maximum distance in bytes from a name back to the start of its tag. */
export const tagBytesMax = 1_024

const ATTRIBUTE = /\s([\w:.-]{1,64})\s*=\s*(\\*"[^"]*"|\\*'[^']*'|[^\s"'<>]+)/g
/** Their values name an element, and do not mark its content as a value. */
const LABELS: ReadonlySet<string> = new Set(['id', 'type', 'for', 'path', 'title', 'label'])

export interface Attribute {
  readonly key: string
  readonly value: Span
}

/** The attributes of a tag, by places in a text in which it begins at `first`. */
export function attributesIn(tag: string, first: number): readonly Attribute[] {
  const attributes: Attribute[] = []
  for (const { 0: whole, 1: key = '', 2: value = '', index } of tag.matchAll(ATTRIBUTE)) {
    const opening = quoteLength(value)
    // In a string of JSON its quotes have backslashes.
    const closing = opening < 2 ? opening : closingLength(value)
    const end = first + index + whole.length
    const start = end - value.length + opening
    attributes.push({
      key: localName(key),
      value: { start, end: end - Math.min(closing, opening) },
    })
  }
  return attributes
}

/** Of the quote that a value ends with, with its backslashes. */
function closingLength(value: string): number {
  const sign = value.at(-1)
  if (sign !== '"' && sign !== "'") return 0
  let from = value.length - 1
  while (from > 0 && value.charAt(from - 1) === '\\') from--
  return value.length - from
}

/** Of the quote that a value begins with, with its backslashes. */
function quoteLength(value: string): number {
  const sign = value.charAt(0)
  if (sign === '"' || sign === "'") return 1
  return sign === '\\' ? (/^\\*["']/.exec(value)?.[0].length ?? 0) : 0
}

/** The attributes of the tag from `start` to `end`, by places in the text. */
const attributesOf = ({ bytes }: View, start: number, end: number): readonly Attribute[] =>
  attributesIn(excerptOf(bytes, start, end), start)

const localName = (name: string): string => name.slice(name.lastIndexOf(':') + 1)

/** As it is written: an element's own name is in lower case. */
const keyOf = ({ bytes }: View, { name, start }: Element): string =>
  localName(excerptOf(bytes, start + 1, start + 1 + name.length))

export type Tree = (tag: number) => Element | undefined

/** The values for the name at `name`, which stands in an attribute of the tag at `tag`. */
export function besideAttribute(
  view: View,
  name: Span,
  { tag, tree, spend }: { tag: number; tree: Tree; spend(steps: number): void },
): readonly Span[] {
  const end = tagEnd(view.bytes, tag + 1, view.to)
  if (end < 0) return []
  const attributes = attributesOf(view, tag, end)
  const own = attributes.findIndex(
    ({ value }) => value.start <= name.start && name.end <= value.end,
  )
  const key = attributes[own]?.key ?? ''
  const role = pairRole(key)
  if (role?.kind !== 'naming') return []
  const found = attributes.filter(({ key }) => isHolding(key, role.frame)).map(({ value }) => value)
  // A tag that closes itself has no content.
  const isAlone = found.length > 0 && view.bytes[end - 2] === 0x2f
  if (isAlone || LABELS.has(key.toLowerCase())) return found
  const element = tree(tag)
  if (element === undefined) return found
  const children = element.children
    .slice(0, siblingsMax)
    .filter((child) => isHolding(keyOf(view, child), role.frame))
  found.push(...children.flatMap((child) => contentsOf(view, child)))
  if (found.length === 0) return [{ start: element.from, end: element.to }]
  // Next to an attribute or an element that holds the value, a text may be a label.
  return [...found, ...madeTexts(view, element, spend)]
}

/**
 * The texts between the children of an element that have a word in them that was made to be a
 * secret.
 */
function madeTexts(
  { bytes }: View,
  { from, to, children }: Element,
  spend: (steps: number) => void,
): readonly Span[] {
  if (children.length > siblingsMax) return []
  const found: Span[] = []
  const read = (start: number, end: number): void => {
    spend(STEPS.byte * Math.max(0, end - start))
    const text = trimmed(bytes, start, end)
    const words = excerptOf(bytes, text.start, Math.min(text.end, text.start + tagBytesMax))
    if (words.split(/\s+/).some((word) => looksMade(word))) found.push(text)
  }
  let at = from
  for (const { start, from: inner, to: end } of children) {
    read(at, start)
    // A tag alone ends where its content would begin.
    at = end > inner ? Math.max(end, bytes.indexOf(0x3e, end) + 1) : end
  }
  read(at, to)
  return found
}
function isHolding(key: string, frame: string): boolean {
  if (key.toLowerCase() === 'password') return true
  const role = pairRole(key)
  return role !== null && role.kind !== 'naming' && role.frame === frame
}

/** So many elements to either side of a name's one are looked at. */
const siblingsMax = 16

/** The values for the name that is the content of the element whose tag is at `tag`. */
export function besideElement(view: View, tag: number, tree: Tree): readonly Span[] {
  const own = tree(tag)
  const role = own === undefined ? null : pairRole(keyOf(view, own))
  if (own === undefined || role?.kind !== 'naming') return []
  const { parent } = own
  if (parent === null) return []
  const row: (RowKey & { element: Element })[] = []
  const first = Math.max(0, own.index - siblingsMax)
  for (const element of parent.children.slice(first, own.index + siblingsMax)) {
    const key = keyOf(view, element)
    const other = pairRole(key)
    if (other !== null && other.frame === role.frame) row.push({ ...other, key, element })
  }
  const at = row.findIndex(({ element }) => element === own)
  const found = partnersOf(row, at).flatMap((i) => {
    const element = row[i]?.element
    return element === undefined ? [] : contentsOf(view, element)
  })
  if (parent.start < 0) return found
  const ofParent = attributesOf(view, parent.start, parent.from)
  return [
    ...found,
    ...ofParent.filter(({ key }) => isHolding(key, role.frame)).map(({ value }) => value),
  ]
}

/** Returns the values of an element: its content, and any attribute that holds one. */
function contentsOf(view: View, { start, from, to }: Element): readonly Span[] {
  const values = attributesOf(view, start, from)
    .filter(({ key }) => isHolding(key, ''))
    .map(({ value }) => value)
  return to > from ? [{ start: from, end: to }, ...values] : values
}
