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
import type { LintWork } from './lint-work.ts'

/**
 * The facts about a request once some conditions hold, by the part that the conditions look at
 * (`context.risk`, or a whole test that is not understood). Immutable; null stands for a request
 * that cannot exist. Each further fact makes a copy, which `work` counts.
 */
export class Facts {
  readonly parts: ReadonlyMap<string, Domain>
  readonly work: LintWork
  /** Conclusions by test, for a test that is applied to the same facts more than once. */
  readonly #narrowed = new WeakMap<CedarExpression, Map<boolean, Facts | null>>()

  constructor(parts: ReadonlyMap<string, Domain>, work: LintWork) {
    this.parts = parts
    this.work = work
  }

  /** Once for each test and outcome: asked again at each depth, nested tests would cost 2^depth. */
  once(test: CedarExpression, holds: boolean, narrow: () => Facts | null): Facts | null {
    let outcomes = this.#narrowed.get(test)
    if (outcomes === undefined) this.#narrowed.set(test, (outcomes = new Map()))
    let known = outcomes.get(holds)
    if (known === undefined) outcomes.set(holds, (known = narrow()))
    return known
  }
}

const anyValue = textsOf(null)

export function valuesOf(facts: Facts, part: string): Values {
  const known = facts.parts.get(part)
  return known?.kind === 'values' ? known : anyValue
}

function put(facts: Facts, part: string, domain: Domain | null): Facts | null {
  if (domain === null) return null
  facts.work.spend(facts.parts.size)
  return new Facts(new Map(facts.parts).set(part, domain), facts.work)
}

export function withValues(
  facts: Facts,
  part: string,
  values: readonly string[],
  holds: boolean,
): Facts | null {
  const known = valuesOf(facts, part)
  facts.work.spend(costOf(known) + values.length * (1 + known.likes.length))
  return put(facts, part, restrictValues(known, values, holds))
}

export function withLike(facts: Facts, part: string, like: Like, holds: boolean): Facts | null {
  const known = valuesOf(facts, part)
  facts.work.spend(costOf(known))
  return put(facts, part, restrictLike(known, like, holds))
}

/** Returns the cost of reading a part again when a further fact about it is added. */
function costOf(known: Domain): number {
  if (known.kind === 'range') return 1 + known.holes.size
  if (known.kind === 'elements') return 1 + known.has.size + known.hasNot.size
  const { only, families, never, likes } = known
  const listed = 1 + (only?.size ?? 0) + families.length
  return listed * (1 + likes.length) + never.size
}

/** Maximum length of an expression quoted in a warning; its author finds it by less. */
const quotedMax = 200

export function excerptOf(text: string): string {
  return text.length > quotedMax ? `${text.slice(0, quotedMax)}…` : text
}

/** As Cedar writes it, as far as a warning quotes it. */
export const quoteOf = (expression: CedarExpression): string => excerptOf(spellingOf(expression))

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
  const known = facts.parts.get(part)
  return known?.kind === 'range' ? known : null
}

export function withRange(facts: Facts, part: string, min: number, max: number): Facts | null {
  return put(facts, part, restrictRange(rangeIn(facts, part) ?? anyNumber, min, max))
}

export function withoutValue(facts: Facts, part: string, hole: number): Facts | null {
  const known = rangeIn(facts, part) ?? anyNumber
  facts.work.spend(costOf(known))
  return put(facts, part, withoutNumber(known, hole))
}

export function elementsIn(facts: Facts, part: string): Elements | null {
  const known = facts.parts.get(part)
  return known?.kind === 'elements' ? known : null
}

export function withElements(
  facts: Facts,
  part: string,
  change: Parameters<typeof restrictElements>[1],
): Facts | null {
  const known = elementsIn(facts, part)
  if (known === null) return facts
  facts.work.spend(costOf(known) + (change.has?.size ?? 0) + (change.hasNot?.size ?? 0))
  return put(facts, part, restrictElements(known, change))
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
