import { readingsOf } from './unescape-all.ts'

/**
 * Which ids belong to someone, for whoever reads messages, in a thread as well: one count for each
 * of two hashes of an id, in shared memory. What is not in it belongs to no one. What is may belong
 * to no one all the same: ask `OwnedIds`.
 */
export type IdFilter = Uint8Array<SharedArrayBuffer>

/** Shorter values stand for anything: only a name tells that they are ids. */
export const knownLengthMin = 16
/** A longer id is not remembered, and so belongs to no one. */
export const idLengthMax = 256
/** Edges of words of an id behind its first sixteen characters. */
const endsMax = 16
const countMax = 0xff

/** With as many ids as may be owned, one word in thirty looks like one of them. */
const slots = 2 ** 22

export function createIdFilter(): IdFilter {
  return new Uint8Array(new SharedArrayBuffer(slots))
}

/** Letters and digits, and `_` and `-`, which stand inside a word as well. */
const isWordUnit = new Uint8Array(0x80)
/** What no id of a receiver holds: blanks, controls, quotes, brackets of text. */
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

const isWord = (unit: number): boolean => unit < 0x80 && isWordUnit[unit] === 1
/** Not between two letters or digits of one word. */
const isEdge = (before: number, after: number): boolean => !(isWord(before) && isWord(after))

/** UUIDs are read in either case, and without hyphens. */
export function foldedId(id: string): string {
  const plain = id.toLowerCase().replaceAll('-', '')
  return plain.length < knownLengthMin ? id : plain
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

const hash = new Hash()

function hashOf(id: string): void {
  const key = foldedId(id)
  hash.begin()
  for (let i = 0; i < key.length; i++) hash.add(key.charCodeAt(i))
}

/** Slot 0 tells whether there is anything at all. */
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

function isInFilter(filters: readonly IdFilter[]): boolean {
  const [first, second] = [hash.first(), hash.second()]
  return filters.some((filter) => filter[first] !== 0 && filter[second] !== 0)
}

/** Whether `value` may be an id that belongs to someone, of whatever length. */
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
const escape = /[%\\`][0-9a-z{]|&[#a-z]/i

/**
 * Gives whatever in `text` may be an id that belongs to someone: from sixteen characters on, between
 * the edges of words, in either case, in any layer of escapes. Linear: each place at which an id may
 * begin is followed for a bounded number of characters.
 */
export function visitKnown(
  text: string,
  filters: readonly IdFilter[],
  visit: (id: string) => void,
): void {
  if (text.length < knownLengthMin) return
  if (!escape.test(text)) visitPlain(text, filters, visit)
  else for (const reading of readingsOf(text)) visitPlain(reading, filters, visit)
}

function visitPlain(text: string, filters: readonly IdFilter[], visit: (id: string) => void): void {
  const last = text.length - knownLengthMin
  let before = 0
  for (let at = 0; at <= last; at++) {
    const unit = text.charCodeAt(at)
    // Behind `\n` of a document in a string, its letter is none of the word.
    const begins = !isWord(before) || text.charCodeAt(at - 2) === backslash
    before = unit
    if (begins && isWord(unit)) follow(text, at, filters, visit)
  }
}

const isEnd = (unit: number): boolean => unit >= 0x80 || isEndUnit[unit] === 1

function follow(
  text: string,
  from: number,
  filters: readonly IdFilter[],
  visit: (id: string) => void,
): void {
  hash.begin()
  const to = Math.min(text.length, from + idLengthMax)
  let length = 0
  let ends = 0
  for (let at = from; at < to; ) {
    const unit = text.charCodeAt(at++)
    if (isEnd(unit)) return
    if (unit !== hyphen) {
      hash.add(folded[unit] as number)
      length++
    }
    if (length < knownLengthMin) continue
    if (at < text.length && !isEdge(unit, text.charCodeAt(at))) continue
    if (isInFilter(filters)) visit(text.slice(from, at))
    if (++ends === endsMax) return
  }
}

/** Shorter ones hold neither a long id nor a document that names a short one: `taskId=5`. */
const textLengthMin = 8

/** Gives the texts of a document of JSON that may hold an id: values, long names, long numbers. */
export function visitTexts(value: unknown, visit: (text: string) => void): void {
  if (typeof value === 'string') {
    if (value.length >= textLengthMin) visit(value)
  } else if (typeof value === 'number') {
    if (Math.abs(value) >= 10 ** (knownLengthMin - 1)) visit(String(value))
  } else if (Array.isArray(value)) {
    for (const each of value as unknown[]) visitTexts(each, visit)
  } else if (typeof value === 'object' && value !== null) {
    const record = value as Readonly<Record<string, unknown>>
    for (const name in record) {
      if (name.length >= knownLengthMin) visit(name)
      visitTexts(record[name], visit)
    }
  }
}
