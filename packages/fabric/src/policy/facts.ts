import {
  asExpression,
  asList,
  type CedarExpression,
  findEntityUid,
  operatorOf,
} from './cedar-json.ts'
import {
  anyNumber,
  type Domain,
  type Elements,
  type Like,
  type Range,
  restrictElements,
  restrictLike,
  restrictRange,
  restrictValues,
  textsOf,
  type Values,
  withoutNumber,
} from './domains.ts'
import { formatExpression } from './format-expression.ts'
import { formatEntity } from './frame.ts'

/**
 * What is known of a request once some conditions hold, by the part that they look at (`context.risk`,
 * or a whole test that is not understood). Immutable; null stands for no request at all.
 */
export type Facts = ReadonlyMap<string, Domain>

const anyValue = textsOf(null)

export function valuesOf(facts: Facts, part: string): Values {
  const known = facts.get(part)
  return known?.kind === 'values' ? known : anyValue
}

function put(facts: Facts, part: string, domain: Domain | null): Facts | null {
  return domain === null ? null : new Map(facts).set(part, domain)
}

export function withValues(
  facts: Facts,
  part: string,
  values: readonly string[],
  holds: boolean,
): Facts | null {
  return put(facts, part, restrictValues(valuesOf(facts, part), values, holds))
}

export function withLike(facts: Facts, part: string, like: Like, holds: boolean): Facts | null {
  return put(facts, part, restrictLike(valuesOf(facts, part), like, holds))
}

const spellings = new WeakMap<CedarExpression, string>()

/** As Cedar writes it. Asked for again in every world, and worked out once. */
export function spellingOf(expression: CedarExpression): string {
  const known = spellings.get(expression)
  if (known !== undefined) return known
  const text = formatExpression(expression)
  spellings.set(expression, text)
  return text
}

/** Of a test that is not understood: it can only not be true and false at once. */
export function withTest(facts: Facts, expression: CedarExpression, holds: boolean): Facts | null {
  return withValues(facts, spellingOf(expression), [String(holds)], true)
}

export function rangeIn(facts: Facts, part: string): Range | null {
  const known = facts.get(part)
  return known?.kind === 'range' ? known : null
}

export function withRange(facts: Facts, part: string, min: number, max: number): Facts | null {
  return put(facts, part, restrictRange(rangeIn(facts, part) ?? anyNumber, min, max))
}

export function withoutValue(facts: Facts, part: string, hole: number): Facts | null {
  return put(facts, part, withoutNumber(rangeIn(facts, part) ?? anyNumber, hole))
}

export function elementsIn(facts: Facts, part: string): Elements | null {
  const known = facts.get(part)
  return known?.kind === 'elements' ? known : null
}

export function withElements(
  facts: Facts,
  part: string,
  change: Parameters<typeof restrictElements>[1],
): Facts | null {
  const known = elementsIn(facts, part)
  return known === null ? facts : put(facts, part, restrictElements(known, change))
}

/** The only value that `part` can still have, as Cedar writes it; null when there are several. */
export function onlyValueOf(facts: Facts, part: string): string | null {
  const { only, families } = valuesOf(facts, part)
  return only?.size === 1 && families.length === 0 ? ([...only][0] ?? null) : null
}

/** Of two parts that are the same, each has only what the other can have, where that is a list. */
export function withEqual(facts: Facts, a: string, b: string): Facts | null {
  const listed = (part: string): readonly string[] | null => {
    const { only, families } = valuesOf(facts, part)
    return only === null || families.length > 0 ? null : [...only]
  }
  const [left, right] = [listed(a), listed(b)]
  const known = left === null ? facts : withValues(facts, b, left, true)
  return known === null || right === null ? known : withValues(known, a, right, true)
}

/** Texts, flags and entities as Cedar writes them; null for anything else. */
export function literalOf(expression: CedarExpression): string | null {
  const [name, body] = operatorOf(expression)
  if (name !== 'Value' || typeof body === 'number') return null
  if (typeof body === 'string') return JSON.stringify(body)
  if (typeof body === 'boolean') return String(body)
  const uid = findEntityUid(body)
  return uid === null ? null : formatEntity(uid)
}

/** The elements of a set that is written out; null for every other expression. */
export function elementsOfSet(expression: CedarExpression): readonly CedarExpression[] | null {
  const [name, body] = operatorOf(expression)
  return name === 'Set' ? asList(body).map(asExpression) : null
}

/** A variable, an attribute or a tag of the request, as Cedar writes it. */
export function partOf(expression: CedarExpression): string | null {
  const [name] = operatorOf(expression)
  return ['Var', '.', 'getTag', 'toTime', 'toDate'].includes(name) ? spellingOf(expression) : null
}
