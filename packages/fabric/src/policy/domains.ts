import { isLong } from './expect-value.ts'
import { compilePattern } from './like.ts'
import { CedarSet, type Value } from './values.ts'

/** The syntax of a text, for texts that no list can hold. */
export interface Grammar {
  /** Reports whether a whole text fits. */
  fits(text: string): boolean
  /**
   * Reports whether a piece of a pattern can be part of a fitting text: at its start, at its end,
   * or in the middle.
   */
  canHold(piece: string, at: 'start' | 'end' | 'middle'): boolean
  readonly lengthMax: number
}

/** A pattern of `like`, with its literal pieces between the wildcards. */
export interface Like {
  readonly matches: (text: string) => boolean
  readonly pieces: readonly string[]
}

/** The values that one part of a request can still have, as Cedar writes them. */
export interface Values {
  readonly kind: 'values'
  /** Null for any. */
  readonly only: ReadonlySet<string> | null
  /** Beginnings of texts that are possible in addition to those of `only`. */
  readonly families: readonly string[]
  readonly never: ReadonlySet<string>
  readonly grammar: Grammar | null
  readonly likes: readonly (Like & { readonly holds: boolean })[]
}

/** Inclusive bounds of a whole number, without some. */
export interface Range {
  readonly kind: 'range'
  readonly min: number
  readonly max: number
  readonly holes: ReadonlySet<number>
}

/** A set of texts of which some elements are known. */
export interface Elements {
  readonly kind: 'elements'
  readonly has: ReadonlySet<string>
  readonly hasNot: ReadonlySet<string>
  readonly sizeMax: number
  readonly sizeMin: number
  readonly grammar: Grammar
}

export type Domain = Values | Range | Elements

const none: ReadonlySet<never> = new Set<never>()
const anyValue: Values = {
  kind: 'values',
  only: null,
  families: [],
  never: none,
  grammar: null,
  likes: [],
}

export const quote = (text: string): string => JSON.stringify(text)

export function oneOf(values: Iterable<string>): Values {
  return { ...anyValue, only: new Set(values) }
}

/** Texts from a list in which `*` at the end stands for any rest; any text for null. */
export function textsOf(names: readonly string[] | null): Values {
  if (names === null) return anyValue
  const families = names.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1))
  return { ...oneOf(names.filter((name) => !name.endsWith('*')).map(quote)), families }
}

export function spelt(grammar: Grammar): Values {
  return { ...anyValue, grammar }
}

export function between(min: number, max: number): Range {
  return { kind: 'range', min, max, holes: none }
}

export const anyNumber = between(-Infinity, Infinity)

export function elementsOf(grammar: Grammar, sizeMax: number): Elements {
  return { kind: 'elements', has: none, hasNot: none, sizeMin: 0, sizeMax, grammar }
}

/** The text behind a literal; null for a flag, an entity or a set. */
export function textOf(value: string): string | null {
  return value.startsWith('"') ? (JSON.parse(value) as string) : null
}

export function patternOf(elements: unknown): Like {
  const pieces = ['']
  for (const element of Array.isArray(elements) ? (elements as unknown[]) : []) {
    const literal =
      typeof element === 'object' && element !== null ? Object.values(element)[0] : null
    if (typeof literal === 'string') pieces[pieces.length - 1] += literal
    else pieces.push('')
  }
  return { matches: compilePattern(elements), pieces }
}

/** Reports whether the part can have this value. */
export function canBe(values: Values, value: string): boolean {
  const { only, families, never, grammar, likes } = values
  if (never.has(value)) return false
  const text = textOf(value)
  const isListed =
    only === null ||
    only.has(value) ||
    (text !== null && families.some((start) => text.startsWith(start)))
  if (!isListed || text === null) return isListed
  if (grammar !== null && !grammar.fits(text)) return false
  return likes.every(({ matches, holds }) => matches(text) === holds)
}

export function restrictValues(
  known: Values,
  values: readonly string[],
  holds: boolean,
): Values | null {
  if (holds) {
    const left = values.filter((value) => canBe(known, value))
    return left.length === 0 ? null : oneOf(left)
  }
  return orNull({ ...known, never: new Set([...known.never, ...values]) })
}

export function restrictLike(known: Values, like: Like, holds: boolean): Values | null {
  const [only] = like.pieces
  if (like.pieces.length === 1) return restrictValues(known, [quote(only ?? '')], holds)
  return orNull({ ...known, likes: [...known.likes, { ...like, holds }] })
}

function orNull(values: Values): Values | null {
  const only = values.only === null ? null : [...values.only].filter((each) => canBe(values, each))
  const families = values.families.filter((start) => isOpen(values, start))
  const isPossible = only === null ? isOpen(values, '') : only.length > 0 || families.length > 0
  return isPossible ? { ...values, only: only === null ? null : new Set(only), families } : null
}

/**
 * Reports whether some text that begins with `start` can fit every pattern; true if that is not
 * known.
 */
function isOpen({ grammar, likes }: Values, start: string): boolean {
  const wanted = likes.filter(({ holds }) => holds)
  const starts = [start, ...wanted.map(({ pieces }) => pieces[0] ?? '')]
  const ends = wanted.map(({ pieces }) => pieces.at(-1) ?? '')
  const begin = longest(starts)
  const end = longest(ends)
  if (!starts.every((each) => begin.startsWith(each))) return false
  if (!ends.every((each) => end.endsWith(each))) return false
  const unwanted = likes.filter(({ holds, pieces }) => !holds && pieces.length === 2)
  const isExcluded = unwanted.some(
    ({ pieces: [first = '', last = ''] }) =>
      (last === '' && begin.startsWith(first)) || (first === '' && end.endsWith(last)),
  )
  if (isExcluded) return false
  if (grammar === null) return true
  return (
    wanted.every(({ pieces }) =>
      pieces.every((piece, i) => grammar.canHold(piece, edgeOf(i, pieces))),
    ) && wanted.every(({ pieces }) => pieces.join('').length <= grammar.lengthMax)
  )
}

function edgeOf(index: number, { length }: readonly string[]): 'start' | 'end' | 'middle' {
  if (index === 0) return 'start'
  return index === length - 1 ? 'end' : 'middle'
}

function longest(texts: readonly string[]): string {
  return texts.reduce((found, text) => (text.length > found.length ? text : found), '')
}

export function restrictRange(known: Range, min: number, max: number): Range | null {
  return trimmed({ ...known, min: Math.max(known.min, min), max: Math.min(known.max, max) })
}

export function withoutNumber(known: Range, hole: number): Range | null {
  return trimmed({ ...known, holes: new Set([...known.holes, hole]) })
}

function trimmed({ holes, ...range }: Range): Range | null {
  let { min, max } = range
  while (holes.has(min)) min += 1
  while (holes.has(max)) max -= 1
  return min > max ? null : { ...range, min, max, holes }
}

/** With what is asked of its elements and its size; null where no set is left. */
export function restrictElements(
  known: Elements,
  change: Partial<Pick<Elements, 'has' | 'hasNot' | 'sizeMin' | 'sizeMax'>>,
): Elements | null {
  const has = new Set([...known.has, ...(change.has ?? [])])
  const hasNot = new Set([...known.hasNot, ...(change.hasNot ?? [])])
  const sizeMin = Math.max(known.sizeMin, change.sizeMin ?? 0, has.size)
  const sizeMax = Math.min(known.sizeMax, change.sizeMax ?? Infinity)
  if (sizeMin > sizeMax) return null
  for (const value of has) {
    const text = textOf(value)
    if (hasNot.has(value) || text === null || !known.grammar.fits(text)) return null
  }
  return { ...known, has, hasNot, sizeMin, sizeMax }
}

/** Reports whether a value of a decision is in the domain. */
export function canHold(domain: Domain, value: Value): boolean {
  if (domain.kind === 'elements') {
    if (!(value instanceof CedarSet)) return false
    const items = value.items.map((item) => (typeof item === 'string' ? quote(item) : 'no text'))
    const { size } = new Set(items)
    return restrictElements(domain, { has: new Set(items), sizeMin: size, sizeMax: size }) !== null
  }
  if (domain.kind === 'range') {
    const number = typeof value === 'object' && 'ms' in value ? value.ms : value
    return isLong(number) && restrictRange(domain, Number(number), Number(number)) !== null
  }
  if (typeof value === 'string') return canBe(domain, quote(value))
  return typeof value === 'boolean' && canBe(domain, String(value))
}
