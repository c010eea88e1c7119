import { freeWork, STEPS, type Work } from './reading-steps.ts'
import { readingsOf } from './text-readings.ts'

/**
 * A filter of owned ids for readers of messages, in a thread as well: one count for each of two
 * hashes of an id, in shared memory. An id that is absent has no owner. One that is present may be
 * a false positive: check `OwnedIds`.
 */
export type IdFilter = Uint8Array<SharedArrayBuffer>

/**
 * Minimum length, hyphens included, at which a value alone can be an id; a shorter one may mean
 * anything, unless a name marks it as an id. With a digit in it, a value is unlike a word of prose
 * from `digitLengthMin` on.
 */
export const knownLengthMin = 16
export const digitLengthMin = 12
/** Maximum length of a remembered id; a longer one never has an owner. */
export const idLengthMax = 256
/** Edges of words of an id behind its first twelve characters. */
const endsMax = 20
const countMax = 0xff

/** With as many ids as may be owned, one word in thirty looks like one of them. */
const slots = 2 ** 22

export function createIdFilter(): IdFilter {
  return new Uint8Array(new SharedArrayBuffer(slots))
}

/** Letters and digits, and `_` and `-`, which stand inside a word as well. */
const isWordUnit = new Uint8Array(0x80)
/**
 * Characters that never occur in an id of a receiver: blanks, controls, quotes, brackets of text.
 */
const isEndUnit = new Uint8Array(0x80).fill(1, 0, 0x21)
const folded = new Uint8Array(0x80)
for (let unit = 0; unit < 0x80; unit++) {
  const character = String.fromCharCode(unit)
  if (/[\w-]/.test(character)) isWordUnit[unit] = 1
  if (/["'`\\<>{}\x7f]/.test(character)) isEndUnit[unit] = 1
  folded[unit] = character.toLowerCase().charCodeAt(0)
}
const hyphen = 0x2d
const backslash = 0x5c

const other = 0
const asciiWord = 1
/** Letters of other alphabets have words of their own: an id may stand in a sentence of Chinese. */
const foreignWord = 2
const wordOf = (unit: number): number =>
  unit >= 0x80 ? foreignWord : isWordUnit[unit] === 1 ? asciiWord : other
/** Not between two letters or digits of one word. */
const isEdge = (before: number, after: number): boolean => before !== after || before === other

const foldedUnit = (unit: number): number =>
  unit < 0x80 ? (folded[unit] as number) : foldedForeign(unit)

function foldedForeign(unit: number): number {
  const lower = String.fromCharCode(unit).toLowerCase()
  return lower.length === 1 ? lower.charCodeAt(0) : unit
}

const isDigit = (unit: number): boolean => unit >= 0x30 && unit <= 0x39

/** Reports whether a value of this length cannot equal another text by chance. */
const isUnmistakable = (length: number, hasDigit: boolean): boolean =>
  length >= knownLengthMin || (hasDigit && length >= digitLengthMin)

/**
 * An id as it is kept and compared. UUIDs and other long ids are read in either case, and without
 * hyphens; those that are long with their hyphens only, in either case; short ones as they are.
 */
export function foldedId(id: string): string {
  if (!isUnmistakable(id.length, /[0-9]/.test(id))) return id
  const units = Array.from({ length: id.length }, (_, at) => foldedUnit(id.charCodeAt(at)))
  const plain = units.filter((unit) => unit !== hyphen)
  const kept = plain.length >= knownLengthMin ? plain : units
  return String.fromCharCode(...kept)
}

/** Two hashes of a text under construction. */
class Hash {
  one = 0
  two = 0

  begin(): void {
    this.one = 0x811c9dc5 | 0
    this.two = 0x9747b28c | 0
  }

  add(unit: number): void {
    this.one = Math.imul(this.one ^ unit, 0x01000193)
    this.two = Math.imul((this.two << 5) ^ (this.two >>> 27) ^ unit, 0x5bd1e995)
  }

  first(): number {
    return (this.one ^ (this.one >>> 15)) & (slots - 1)
  }

  second(): number {
    return (this.two ^ (this.two >>> 13)) & (slots - 1)
  }
}

/** Of what is compared: an id as it is, or of the text in hand with its hyphens. */
const hash = new Hash()
/** Of the text in hand without its hyphens. */
const plainHash = new Hash()

function hashOf(id: string): void {
  const key = foldedId(id)
  hash.begin()
  for (let i = 0; i < key.length; i++) hash.add(key.charCodeAt(i))
}

/** Slot 0 is set once the filter holds any id. */
export function addKnown(filter: IdFilter, id: string): void {
  hashOf(id)
  filter[0] = 1
  for (const slot of [hash.first(), hash.second()]) {
    const count = filter[slot] as number
    if (count < countMax) filter[slot] = count + 1
  }
}

export function removeKnown(filter: IdFilter, id: string): void {
  hashOf(id)
  for (const slot of [hash.first(), hash.second()]) {
    const count = filter[slot] as number
    // One that is full has lost count, and stays.
    if (slot !== 0 && count > 0 && count < countMax) filter[slot] = count - 1
  }
}

function isInFilter(filters: readonly IdFilter[], of: Hash = hash): boolean {
  const [first, second] = [of.first(), of.second()]
  return filters.some((filter) => filter[first] !== 0 && filter[second] !== 0)
}

/** Reports whether `value` may be an owned id, of any length. */
export function mayBeKnown(filters: readonly IdFilter[], value: string): boolean {
  if (value.length > idLengthMax) return false
  hashOf(value)
  return isInFilter(filters)
}

/** Filters without any id are left out. */
export function usedFilters(filters: readonly IdFilter[]): readonly IdFilter[] {
  return filters.filter((filter) => filter[0] !== 0)
}

/** Something that `unescapeAll` undoes. */
const escape = /[%\\`][0-9a-z{]|&[#a-z]|[\uff01-\uff5e]/i
/** Before a letter that it does not change, in JavaScript, YAML, Lua and their like. */
const idle = /[\\`](?![bfnrtv0])/g
/** Shells drop it before any letter. */
const quoting = /[\\`]/g

/**
 * Returns the parts of `text` that may be an id with an owner, where it is unmistakable: between
 * the edges of words, in either case, in any layer of escapes. Linear: each place at which an id
 * may begin is followed for a bounded number of characters.
 */
export function visitKnown(
  text: string,
  filters: readonly IdFilter[],
  visit: (id: string) => void,
  work: Work = freeWork,
): void {
  if (text.length < digitLengthMin) return
  const search = { filters, visit, work }
  if (!escape.test(text)) visitQuoted(text, search)
  else for (const reading of readingsOf(text, work)) visitQuoted(reading, search)
}

/** With what stands before a letter and leaves it as it is, and without. */
function visitQuoted(text: string, search: Search): void {
  visitPlain(text, search)
  const bare = text.replaceAll(idle, '')
  if (bare !== text) visitPlain(bare, search)
  const none = bare.replaceAll(quoting, '')
  if (none !== bare) visitPlain(none, search)
}

interface Search {
  readonly filters: readonly IdFilter[]
  readonly work: Work
  visit(id: string): void
}

function visitPlain(text: string, search: Search): void {
  search.work.spend(text.length * STEPS.clueByte)
  const last = text.length - digitLengthMin
  let before = other
  for (let at = 0; at <= last; at++) {
    const word = wordOf(text.charCodeAt(at))
    // Behind `\n` of a document in a string, its letter is none of the word.
    const begins = isEdge(before, word) || text.charCodeAt(at - 2) === backslash
    before = word
    if (!begins || word === other) continue
    search.work.spend(follow(text, at, search) * STEPS.idCharacter)
  }
}

const isEnd = (unit: number): boolean => unit < 0x80 && isEndUnit[unit] === 1

/** Visits the known ids that begin at `from`; returns how far it looked. */
function follow(text: string, from: number, { filters, visit }: Search): number {
  hash.begin()
  plainHash.begin()
  const to = Math.min(text.length, from + idLengthMax)
  let plainLength = 0
  let hasDigit = false
  let ends = 0
  for (let at = from; at < to; ) {
    const unit = text.charCodeAt(at++)
    if (isEnd(unit)) return at - from
    const lower = foldedUnit(unit)
    hash.add(lower)
    if (unit !== hyphen) {
      plainHash.add(lower)
      plainLength++
      hasDigit ||= isDigit(unit)
    }
    if (!isUnmistakable(at - from, hasDigit)) continue
    if (at < text.length && !isEdge(wordOf(unit), wordOf(text.charCodeAt(at)))) continue
    // As `foldedId` has it.
    const compared = plainLength >= knownLengthMin ? plainHash : hash
    if (isInFilter(filters, compared)) visit(text.slice(from, at))
    if (++ends === endsMax) return at - from
  }
  return to - from
}

/** Shorter ones hold neither a long id nor a document that names a short one: `taskId=5`. */
const textLengthMin = 8

/**
 * Visits the texts of a JSON document that may hold an id: values, long names, long numbers. If a
 * double may round a number, it calls `onRounded` as well: receivers with longer numbers read its
 * digits.
 */
export function visitTexts(
  value: unknown,
  visit: (text: string) => void,
  onRounded: () => void,
): void {
  if (typeof value === 'string') {
    if (value.length >= textLengthMin) visit(value)
  } else if (typeof value === 'number') {
    if (Math.abs(value) > Number.MAX_SAFE_INTEGER) onRounded()
    if (Math.abs(value) >= 10 ** (digitLengthMin - 1)) visit(String(value))
  } else if (Array.isArray(value)) {
    for (const each of value as unknown[]) visitTexts(each, visit, onRounded)
  } else if (typeof value === 'object' && value !== null) {
    const record = value as Readonly<Record<string, unknown>>
    for (const name in record) {
      if (name.length >= digitLengthMin) visit(name)
      visitTexts(record[name], visit, onRounded)
    }
  }
}
