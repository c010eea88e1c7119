import type { Span } from '../text/view.ts'
import { HOLDING, TELLING } from './member-roles.ts'
import { VARIANT_WORDS } from './secret-names.ts'
import { looksMade } from './secret-values.ts'
import { type Attribute, attributesIn } from './xml-pairs.ts'

/** Of these words for variants an attribute has the secret, and not a word about it. */
const variants: ReadonlySet<string> = new Set(
  'confirm confirmation confirmed repeat repeated again verify verification value val plain plaintext text raw string str new old current prev previous'.split(
    ' ',
  ),
)
const states: ReadonlySet<string> = new Set(VARIANT_WORDS.filter((word) => !variants.has(word)))

/** `value="…"`, `old="…"`; of `encoded="…"`, `data="…"` what is more than a word. */
function holds({ key }: Attribute, text: string): boolean {
  const name = key.toLowerCase()
  if (variants.has(name) || HOLDING.has(name)) return true
  if (!states.has(name) && !TELLING.has(name)) return false
  return looksMade(text) || (states.has(name) && (/\s/.test(text) || text.length >= wordMax))
}
const wordMax = 12

/** The values that a tag has for the name of its element: `tag` is the text from its `<` on. */
export function heldIn(tag: string): readonly Span[] {
  return attributesIn(tag, 0)
    .filter((each) => holds(each, tag.slice(each.value.start, each.value.end)))
    .map(({ value }) => value)
}

const cdata = '<![CDATA['
const tag = /<[^<>]{0,64}>/y
const endTag = /<\/([\w.:-]+)/g

/**
 * The text of an element's content, by which it is judged: CDATA as it stands, since nothing in it
 * is a tag; comments that hold what was made to be a secret; and of tags what their attributes
 * hold.
 */
export function textIn(content: string, spendSection: () => void): string {
  const closed = new Set<string>()
  let text = ''
  let done = 0
  for (let at = content.indexOf('<'); at >= 0; at = content.indexOf('<', done)) {
    if (done === 0) for (const [, name = ''] of content.matchAll(endTag)) closed.add(name)
    text += content.slice(done, at)
    spendSection()
    const section = sectionAt(content, at, closed)
    done = section?.end ?? at + 1
    text += section?.text ?? '<'
  }
  return text + content.slice(done)
}

interface Section {
  readonly end: number
  readonly text: string
}

/**
 * Returns the end and the text of the section that begins with the `<` at `at`; null if the `<` is
 * a sign alone.
 */
function sectionAt(content: string, at: number, closed: ReadonlySet<string>): Section | null {
  if (content.startsWith(cdata, at)) return between(content, at + cdata.length, ']]>')
  if (content.startsWith('<!--', at)) {
    const { end, text } = between(content, at + 4, '-->')
    return { end, text: hasMade(text) ? text : '' }
  }
  tag.lastIndex = at
  const found = tag.exec(content)?.[0]
  if (found === undefined) return null
  const held = (found.includes('=') ? heldIn(found) : [])
    .map(({ start, end }) => found.slice(start, end))
    .filter((value) => looksMade(value))
  return { end: at + found.length, text: isTag(found, closed) ? held.join(' ') : found }
}

function between(content: string, from: number, closing: string): Section {
  const end = content.indexOf(closing, from)
  if (end < 0) return { text: content.slice(from), end: content.length }
  return { text: content.slice(from, end), end: end + closing.length }
}

const hasMade = (text: string): boolean => text.split(/\s+/).some((word) => looksMade(word))

/** `<Ab1x2y>`, which nothing closes, is as likely a part of the secret. */
function isTag(found: string, closed: ReadonlySet<string>): boolean {
  const name = /^<([\w.:-]+)>$/.exec(found)?.[1]
  if (name === undefined || !/\d[A-Za-z]/.test(name) || !looksMade(name)) return true
  return closed.has(name)
}
