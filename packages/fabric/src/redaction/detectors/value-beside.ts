import { STEPS } from '../inspection-work.ts'
import { ALNUM, excerptOf, KIND, latin1 } from '../text/ascii.ts'
import type { Span, View } from '../text/view.ts'
import { readFields, type TextField } from './pair-fields.ts'
import { type PairRole, pairRole, partnersOf, type RowKey } from './pair-roles.ts'
import { looksMade } from './secret-values.ts'
import { besideInRow } from './table-rows.ts'
import { besideAttribute, besideElement, type Tree } from './xml-pairs.ts'

/**
 * Maximum distance to either side at which the other of a pair is searched, from a name that is a
 * value.
 */
const besideBytesMax = 512
/** Maximum length of a key, its operator and the start of a literal. */
const keyBytesMax = 128

export interface Beside {
  readonly view: View
  readonly tree: Tree
  spend(steps: number): void
  accepts(value: Span): boolean
  /** The secrets in the value of `key` that begins at `at`. */
  valuesAt(at: number, key: Span): readonly Span[]
}

/** Matches the text before a name that is the content of an element. */
const content = />\s*(?:<!\[CDATA\[\s*)?$/

/**
 * The values of a name that is a value itself: `<add value="…" key="password"/>`,
 * `<name>password</name><value>…`, `'value': '…', 'name': 'password'`, `?name=password&value=…`,
 * and a row of two cells. A place that can be read in several of these ways is read in all of them.
 * Null where nothing is next to it; what is masked already still is.
 */
export function beside(place: Beside, given: Span): readonly Span[] | null {
  const { view, spend } = place
  const { bytes, from } = view
  const name = isValuePlace(view, given.start) ? given : wholeName(view, given)
  if (name === null) return null
  const short = excerptOf(bytes, Math.max(from, name.start - keyBytesMax), name.start)
  spend(STEPS.byte * keyBytesMax)
  const row = besideInRow(place, name, short)
  const role = pairRole(keyBefore(view, name.start))
  if (role?.kind !== 'naming' && !content.test(short)) return row
  spend(STEPS.byte * besideBytesMax)
  const first = Math.max(from, name.start - besideBytesMax)
  const before = excerptOf(bytes, first, name.start)
  const found = inMarkup(place, name, { before, first }).filter(({ start, end }) => end > start)
  const inTags = found.length === 0 ? null : found.filter((value) => place.accepts(value))
  if (role === null) return both(row, inTags)
  const part = inMultipart(place, name, before)
  const fields = inFields(place, { before, first, name, role })
  return both(both(row, inTags), both(part, fields))
}

type Found = readonly Span[] | null
export const both = (one: Found, other: Found): Found =>
  one === null || other === null ? (one ?? other) : [...one, ...other]

/** The key whose operator stands before the value that begins at `start`; empty where none does. */
function keyBefore({ bytes, from }: View, start: number): string {
  const first = Math.max(from, start - keyBytesMax)
  const before = (given: number, signs: ReadonlySet<number | undefined>): number => {
    let at = given
    while (at > first && signs.has(bytes[at - 1])) at--
    return at
  }
  const operatorEnd = before(start, OPENING)
  const operator = before(operatorEnd, OPERATOR)
  if (operator === operatorEnd || bytes[operator] === 0x3e) return ''
  const end = before(operator, OPENING)
  return latin1(bytes, before(end, KEY), end)
}

/** So many blanks, quotes and backslashes are between an operator and what it gives a value. */
const openingBytesMax = 48

/**
 * Returns the value that ends in the name, with the words before it: `"Login Password"`,
 * `user[password]`, `db/password`; null if there are none, or if they are not a value.
 */
function wholeName(view: View, { start, end }: Span): Span | null {
  const { bytes, from } = view
  const first = Math.max(from, start - openingBytesMax)
  let at = start
  while (at > first && joinsName(bytes[at - 1] as number)) at--
  if (bytes[at - 1] === 0x21) at += cdata.length
  while (at < start && bytes[at] === 0x20) at++
  if (at >= start || !isValuePlace(view, at)) return null
  return { start: at, end: bytes[end] === 0x5d ? end + 1 : end }
}

/** The text that opens CDATA, after `<!`; a name is read back through it. */
const cdata = '[CDATA['

/** Letters, digits, and what joins the words and the parts of a name. */
const joinsName = (byte: number): boolean =>
  byte >= 0x80 || ((KIND[byte] as number) & ALNUM) !== 0 || JOINTS.has(byte)

/**
 * Reports whether an operator, the end of a tag or the start of a line precedes the value at
 * `start`.
 */
function isValuePlace({ bytes, from }: View, start: number): boolean {
  let at = start - 1
  const first = Math.max(from, start - openingBytesMax)
  while (at >= first && OPENING.has(bytes[at])) at--
  if (bytes[at] === 0x5b) return latin1(bytes, Math.max(from, at - 8), at + 1) === `<!${cdata}`
  return at < from || PLACES.has(bytes[at])
}

const codesOf = (text: string): ReadonlySet<number | undefined> => new Set(Buffer.from(text))
const JOINTS = codesOf(' _-./[]')
const OPENING = codesOf(' \t\r\\"\'`')
const OPERATOR = codesOf(':=>')
const KEY = codesOf('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-[]@$%:')
const PLACES = codesOf(':=>|\n')

function inMarkup(
  { view, tree, spend }: Beside,
  name: Span,
  { before, first }: { before: string; first: number },
): readonly Span[] {
  const end = content.exec(before)
  const tag = before.lastIndexOf('<', end?.index ?? before.length)
  if (tag < 0 || !/[\w:]/.test(before.charAt(tag + 1))) return []
  if (end !== null) return besideElement(view, first + tag, tree)
  return besideAttribute(view, name, { tag: first + tag, tree, spend })
}

const disposition = /content-disposition[ \t]*:[^\n]*;\s*name\s*=\s*(?:\\*")?$/i
const headBytesMax = 1_024

/** The part of a multipart body that has the name; null where none has. */
function inMultipart(place: Beside, name: Span, before: string): readonly Span[] | null {
  if (!disposition.test(before)) return null
  const { bytes, to } = place.view
  const head = excerptOf(bytes, name.end, Math.min(to, name.end + headBytesMax))
  const blank = /\n[ \t]*\r?\n/.exec(head)
  if (blank === null) return []
  const start = name.end + blank.index + blank[0].length
  const boundary = Buffer.from(bytes.buffer, bytes.byteOffset, to).indexOf('\n--', start - 1)
  let end = boundary < 0 ? to : boundary
  place.spend(STEPS.valueByte * Math.max(0, end - start))
  while (end > start && (bytes[end - 1] as number) <= 0x20) end--
  const value = { start, end }
  return end > start && place.accepts(value) ? [value] : []
}

interface Around {
  readonly before: string
  readonly first: number
  readonly name: Span
  readonly role: PairRole
}

interface RowField extends RowKey {
  readonly field: TextField
}

function inFields(place: Beside, { before, first, name, role }: Around): readonly Span[] | null {
  const { bytes, to } = place.view
  const excerpt = before + excerptOf(bytes, name.start, Math.min(to, name.end + besideBytesMax))
  place.spend(STEPS.byte * excerpt.length)
  const { fields, own, from } = fieldsAround(excerpt, before.length, place.spend)
  const at = before.length - from
  const row: RowField[] = []
  let index = -1
  for (const field of sameRecord(fields, own)) {
    const other = pairRole(field.key)
    if (field === fields[own]) index = row.length
    if (other?.frame === role.frame) row.push({ ...other, key: field.key, field })
  }
  const partners = partnersOf(row, index)
  if (partners.length === 0) return null
  return partners.flatMap((partner) => {
    const { field, kind } = row[partner] as RowField
    const start = first + from + field.at
    const key = { start: first + from + field.start, end: start }
    const isBefore = field.at < at
    // A value before the name ends before the name; a value after it may extend beyond the excerpt.
    const values = place
      .valuesAt(start, key)
      .map(({ start, end }) => ({
        start,
        end: isBefore && end >= name.start ? first + from + field.value.end : end,
      }))
      .filter(({ start, end }) => end > start)
    return kind === 'telling' ? values.filter((value) => isMade(bytes, value)) : values
  })
}

const isMade = (bytes: Uint8Array, { start, end }: Span): boolean =>
  looksMade(excerptOf(bytes, start, Math.min(end, start + besideBytesMax)))

/** `url: "…?q='name=password&value=…'"`: literals in literals, as far as they are read. */
const literalsMax = 3

interface Fields {
  readonly fields: readonly TextField[]
  /** Index of the field that has the current name as its value. */
  readonly own: number
  /** Offset of the text of these fields in the excerpt. */
  readonly from: number
}

/** The fields around a name: of a literal that holds more than the name, those within it. */
function fieldsAround(excerpt: string, at: number, spend: Beside['spend']): Fields {
  let from = 0
  let to = excerpt.length
  for (let literals = 0; ; literals++) {
    const fields = readFields(excerpt.slice(from, to))
    spend(STEPS.pairStart * fields.length)
    const start = from
    const isOwn = ({ value }: TextField): boolean =>
      start + value.start <= at && at < start + value.end
    const own = fields.findIndex(isOwn)
    const value = fields[own]?.value
    const isDeeper = value !== undefined && /[=:]/.test(excerpt.slice(from + value.start, at))
    if (!isDeeper || literals === literalsMax) return { fields, own, from }
    to = from + value.end
    from += value.start
  }
}

/**
 * The fields of one record: as deep as the one at `own`, with none less deep and no blank line
 * between.
 */
function sameRecord(fields: readonly TextField[], own: number): readonly TextField[] {
  if (own < 0) return []
  const depth = fields[own]?.depth ?? 0
  const parts = (field: TextField | undefined): boolean =>
    field === undefined || field.key === '' || field.depth < depth
  let first = own
  while (!parts(fields[first - 1])) first--
  let last = own
  while (!parts(fields[last + 1])) last++
  return fields.slice(first, last + 1).filter((field) => field.depth === depth)
}
