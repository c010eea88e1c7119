import {
  asExpression,
  asList,
  type CedarExpression,
  expressionIn,
  findEntityUid,
  operatorOf,
} from './cedar-json.ts'
import { flatten } from './compile-test.ts'
import { parseDatetime, parseDuration } from './extension-values.ts'
import { formatExpression } from './format-expression.ts'
import { formatEntity } from './frame.ts'
import { compilePattern } from './like.ts'

/** The values that one part of a request can still have: some of a list, or all but some. */
interface Values {
  readonly kind: 'values'
  /** As Cedar writes them; null for any. */
  readonly only: ReadonlySet<string> | null
  readonly never: ReadonlySet<string>
}

/** Inclusive bounds of a whole number. */
interface Range {
  readonly kind: 'range'
  readonly min: number
  readonly max: number
}

type Domain = Values | Range

/**
 * What is known of a request once some conditions hold, by the part that they look at (`context.risk`,
 * `principal`, or a whole test that is not understood). Immutable.
 */
export type Facts = ReadonlyMap<string, Domain>

/** Receives each alternative of a disjunction that cannot hold, beside others that can. */
export type DeadAlternative = (expression: CedarExpression, holds: boolean) => void

const anything: Values = { kind: 'values', only: null, never: new Set() }
const anyNumber: Range = { kind: 'range', min: -Infinity, max: Infinity }

export function oneOf(values: Iterable<string>): Domain {
  return { kind: 'values', only: new Set(values), never: new Set() }
}

export function noneOf(values: Iterable<string>): Domain {
  return { kind: 'values', only: null, never: new Set(values) }
}

export function between(min: number, max: number): Domain {
  return { kind: 'range', min, max }
}

/** The only value that `part` can still have, as Cedar writes it; null when there are several. */
export function onlyValueOf(facts: Facts, part: string): string | null {
  const domain = facts.get(part)
  if (domain?.kind !== 'values' || domain.only?.size !== 1) return null
  return [...domain.only][0] ?? null
}

/** Known as `[]` where a request carries none. */
export const LABELS = 'context.labels'

/** `facts` with the further knowledge that `expression` gives `holds`; null when it cannot. */
export function narrow(
  facts: Facts,
  expression: CedarExpression,
  holds: boolean,
  onDead: DeadAlternative = () => undefined,
): Facts | null {
  const [name, body] = operatorOf(expression)
  if (name === '!') return narrow(facts, expressionIn(body, 'arg'), !holds, onDead)
  if (name === '&&' || name === '||') {
    const parts = flatten(name, body)
    return (name === '&&') === holds
      ? narrowAll(facts, parts, { holds, onDead })
      : narrowAny(facts, parts, { holds, onDead })
  }
  if (name === 'Value' && typeof body === 'boolean') return body === holds ? facts : null
  const compared = comparisonOf(name, body)
  return compared === null
    ? restrict(facts, formatExpression(expression), oneOf([String(holds)]))
    : compared.apply(facts, holds)
}

interface Wanted {
  readonly holds: boolean
  readonly onDead: DeadAlternative
}

function narrowAll(
  facts: Facts,
  parts: readonly CedarExpression[],
  { holds, onDead }: Wanted,
): Facts | null {
  let known: Facts | null = facts
  for (const part of parts) {
    if (known === null) return null
    known = narrow(known, part, holds, onDead)
  }
  return known
}

function narrowAny(
  facts: Facts,
  parts: readonly CedarExpression[],
  { holds, onDead }: Wanted,
): Facts | null {
  const possible = parts.map((part) => narrow(facts, part, holds, onDead))
  const left = possible.filter((each) => each !== null)
  if (left.length === 0) return null
  for (const [i, part] of parts.entries()) if (possible[i] === null) onDead(part, holds)
  // Which of several holds is not known; what they have in common is not worth computing.
  return left.length === 1 ? (left[0] ?? facts) : facts
}

interface Comparison {
  apply(facts: Facts, holds: boolean): Facts | null
}

/** Of a part of the request with literals; null for everything else. */
function comparisonOf(name: string, body: unknown): Comparison | null {
  if (name === '==' || name === '!=') return equality(body, name === '==')
  if (name in mirrored) return order(name as Order, body)
  if (
    name === 'contains' ||
    name === 'containsAny' ||
    name === 'containsAll' ||
    name === 'isEmpty'
  ) {
    return ofLabels(name, body) ?? (name === 'contains' ? membership(body) : null)
  }
  if (name === 'like') return pattern(body)
  if (name === 'in') return containment(body)
  return null
}

/** What a set that is known to be empty answers. */
function ofLabels(name: string, body: unknown): Comparison | null {
  const of = expressionIn(body, name === 'isEmpty' ? 'arg' : 'left')
  if (formatExpression(of) !== LABELS) return null
  return {
    apply(facts, holds) {
      if (onlyValueOf(facts, LABELS) !== '[]') return facts
      const isTrue = name === 'isEmpty' || (name === 'containsAll' && isEmptySet(body))
      return isTrue === holds ? facts : null
    },
  }
}

function isEmptySet(body: unknown): boolean {
  const [name, elements] = operatorOf(expressionIn(body, 'right'))
  return name === 'Set' && asList(elements).length === 0
}

function equality(body: unknown, isEqual: boolean): Comparison | null {
  const sides = [expressionIn(body, 'left'), expressionIn(body, 'right')] as const
  const [left, right] = sides.map(literalOf)
  if ((left === null) === (right === null)) return null
  const literal = left ?? right ?? null
  const part = partOf(left === null ? sides[0] : sides[1])
  if (literal === null || part === null) return null
  return {
    apply: (facts, holds) =>
      typeof literal === 'number'
        ? restrictNumber(facts, part, { relation: '==', literal, holds: holds === isEqual })
        : restrictValues(facts, part, { values: [literal], holds: holds === isEqual }),
  }
}

type Order = '<' | '<=' | '>' | '>='

const mirrored = { '<': '>', '<=': '>=', '>': '<', '>=': '<=' } as const

function order(relation: Order, body: unknown): Comparison | null {
  const sides = [expressionIn(body, 'left'), expressionIn(body, 'right')] as const
  const [left, right] = sides.map(literalOf)
  const isMirrored = typeof left === 'number'
  const literal = isMirrored ? left : right
  const part = partOf(isMirrored ? sides[1] : sides[0])
  if (typeof literal !== 'number' || part === null) return null
  const read = isMirrored ? mirrored[relation] : relation
  return {
    apply: (facts, holds) => restrictNumber(facts, part, { relation: read, literal, holds }),
  }
}

/** `["a", "b"].contains(part)` */
function membership(body: unknown): Comparison | null {
  const [name, elements] = operatorOf(expressionIn(body, 'left'))
  const part = partOf(expressionIn(body, 'right'))
  if (name !== 'Set' || part === null) return null
  const literals = asList(elements).map((element) => literalOf(asExpression(element)))
  const values = literals.filter((literal) => typeof literal === 'string')
  if (values.length !== literals.length) return null
  return { apply: (facts, holds) => restrictValues(facts, part, { values, holds }) }
}

/** Only where all values are known: a pattern says nothing that can be kept about others. */
function pattern(body: unknown): Comparison | null {
  const part = partOf(expressionIn(body, 'left'))
  if (part === null) return null
  const matches = compilePattern(asExpression(body)['pattern'])
  return {
    apply(facts, holds) {
      const known = facts.get(part)
      if (known?.kind !== 'values' || known.only === null) return facts
      const values = [...known.only].filter(
        (value) => value.startsWith('"') && matches(JSON.parse(value) as string),
      )
      return restrictValues(facts, part, { values, holds })
    },
  }
}

/** `principal in Segment::"a"`: of segments, each subject has one. */
function containment(body: unknown): Comparison | null {
  const part = partOf(expressionIn(body, 'left'))
  const [name, value] = operatorOf(expressionIn(body, 'right'))
  const group = name === 'Value' ? findEntityUid(value) : null
  if (group?.type !== 'Segment' || (part !== 'principal' && part !== 'resource')) return null
  const values = [formatEntity(group)]
  return {
    apply: (facts, holds) => restrictValues(facts, `${part}.segment`, { values, holds }),
  }
}

/** Texts and entities as Cedar writes them, whole numbers as such; null for anything else. */
function literalOf(expression: CedarExpression): string | number | null {
  const [name, body] = operatorOf(expression)
  if (name === 'neg') {
    const inner = literalOf(expressionIn(body, 'arg'))
    return typeof inner === 'number' ? -inner : null
  }
  if (name === 'datetime' || name === 'duration') return instantOf(name, body)
  if (name === 'Set') return setOf(asList(body))
  if (name !== 'Value') return null
  if (typeof body === 'string') return JSON.stringify(body)
  if (typeof body === 'boolean') return String(body)
  if (typeof body === 'number') return body
  const uid = findEntityUid(body)
  return uid === null ? null : formatEntity(uid)
}

/** In one order and without repeats, as sets are compared. */
function setOf(elements: readonly unknown[]): string | null {
  const literals = elements.map((element) => literalOf(asExpression(element)))
  if (literals.includes(null)) return null
  return `[${[...new Set(literals.map(String))].toSorted().join(', ')}]`
}

/** In milliseconds, as the parts that are compared with it are. */
function instantOf(name: 'datetime' | 'duration', body: unknown): number | null {
  const [argument] = asList(body)
  const [kind, text] = argument === undefined ? [] : operatorOf(asExpression(argument))
  if (kind !== 'Value' || typeof text !== 'string') return null
  try {
    return Number((name === 'datetime' ? parseDatetime(text) : parseDuration(text)).ms)
  } catch {
    // What cannot be read fails when it is evaluated, and is told there.
    return null
  }
}

/** A variable, an attribute or a tag of the request, as Cedar writes it. */
function partOf(expression: CedarExpression): string | null {
  const [name] = operatorOf(expression)
  return ['Var', '.', 'getTag', 'toTime'].includes(name) ? formatExpression(expression) : null
}

interface ValueTest {
  readonly values: readonly string[]
  readonly holds: boolean
}

function restrictValues(facts: Facts, part: string, { values, holds }: ValueTest): Facts | null {
  return restrict(
    facts,
    part,
    holds ? oneOf(values) : { kind: 'values', only: null, never: new Set(values) },
  )
}

interface NumberTest {
  readonly relation: Order | '=='
  readonly literal: number
  readonly holds: boolean
}

const negated = { '<': '>=', '<=': '>', '>': '<=', '>=': '<' } as const

function restrictNumber(facts: Facts, part: string, test: NumberTest): Facts | null {
  const { relation, literal, holds } = test
  if (relation === '==') {
    // That one number is left out says little about a range, unless it is all that was left.
    if (holds) return restrict(facts, part, between(literal, literal))
    const known = facts.get(part)
    const isAll = known?.kind === 'range' && known.min === literal && known.max === literal
    return isAll ? null : facts
  }
  const bound = holds ? relation : negated[relation]
  if (bound === '<') return restrict(facts, part, between(-Infinity, literal - 1))
  if (bound === '<=') return restrict(facts, part, between(-Infinity, literal))
  if (bound === '>') return restrict(facts, part, between(literal + 1, Infinity))
  return restrict(facts, part, between(literal, Infinity))
}

function restrict(facts: Facts, part: string, wanted: Domain): Facts | null {
  const both = intersect(
    facts.get(part) ?? (wanted.kind === 'range' ? anyNumber : anything),
    wanted,
  )
  if (both === null) return null
  return new Map(facts).set(part, both)
}

function intersect(a: Domain, b: Domain): Domain | null {
  if (a.kind === 'range' && b.kind === 'range') {
    const min = Math.max(a.min, b.min)
    const max = Math.min(a.max, b.max)
    return min > max ? null : { kind: 'range', min, max }
  }
  // Of two types: strict validation lets no policy compare one part with both.
  if (a.kind === 'range' || b.kind === 'range') return a
  const never = new Set([...a.never, ...b.never])
  if (a.only === null && b.only === null) return { kind: 'values', only: null, never }
  const from = a.only ?? b.only ?? new Set<string>()
  const only = [...from].filter(
    (value) => !never.has(value) && (a.only?.has(value) ?? true) && (b.only?.has(value) ?? true),
  )
  return only.length === 0 ? null : { kind: 'values', only: new Set(only), never: new Set() }
}
