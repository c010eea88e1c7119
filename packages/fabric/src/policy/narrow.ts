import {
  asExpression,
  type CedarExpression,
  expressionIn,
  findEntityUid,
  operatorOf,
  textIn,
} from './cedar-json.ts'
import { flatten } from './compile-test.ts'
import { patternOf, quote } from './domains.ts'
import {
  elementsIn,
  elementsOfSet,
  type Facts,
  literalOf,
  onlyValueOf,
  partOf,
  spellingOf,
  withElements,
  withEqual,
  withLike,
  withoutValue,
  withRange,
  withTest,
  withValues,
} from './facts.ts'
import { formatEntity } from './frame.ts'
import { type Bounds, boundsOf, factorWithin } from './numbers.ts'
import { GROUPS, typeOf } from './request-domains.ts'

type Narrowing = (facts: Facts, body: unknown, holds: boolean) => Facts | null

const narrowings: Readonly<Record<string, Narrowing>> = {
  Value: (facts, body, holds) => (body === !holds ? null : facts),
  '!': (facts, body, holds) => narrow(facts, expressionIn(body, 'arg'), !holds),
  '&&': (facts, body, holds) => narrowJoint(facts, flatten('&&', body), { all: holds, holds }),
  '||': (facts, body, holds) => narrowJoint(facts, flatten('||', body), { all: !holds, holds }),
  'if-then-else': narrowChoice,
  '==': narrowEqual,
  '!=': (facts, body, holds) => narrowEqual(facts, body, !holds),
  '<': (facts, body, holds) => narrowOrder(facts, body, holds ? '<' : '>='),
  '<=': (facts, body, holds) => narrowOrder(facts, body, holds ? '<=' : '>'),
  '>': (facts, body, holds) => narrowOrder(facts, body, holds ? '>' : '<='),
  '>=': (facts, body, holds) => narrowOrder(facts, body, holds ? '>=' : '<'),
  in: narrowIn,
  is: narrowIs,
  like: (facts, body, holds) => {
    const part = partOf(expressionIn(body, 'left'))
    const like = patternOf(asExpression(body)['pattern'])
    return part === null ? facts : withLike(facts, part, like, holds)
  },
  contains: (facts, body, holds) => narrowContains(facts, body, { holds, word: 'any' }),
  containsAny: (facts, body, holds) => narrowContains(facts, body, { holds, word: 'any' }),
  containsAll: (facts, body, holds) => narrowContains(facts, body, { holds, word: 'all' }),
  isEmpty: (facts, body, holds) => {
    const set = expressionIn(body, 'arg')
    const elements = elementsOfSet(set)
    if (elements !== null) return (elements.length === 0) === holds ? facts : null
    return withElements(facts, spellingOf(set), holds ? { sizeMax: 0 } : { sizeMin: 1 })
  },
}

/**
 * Returns `facts` with the further fact that `expression` gives `holds`; null if none of the
 * requests they describe can give it. An expression that is not understood counts as possible, so
 * that null is never wrong.
 */
export function narrow(facts: Facts, expression: CedarExpression, holds: boolean): Facts | null {
  const [name, body] = operatorOf(expression)
  const known = Object.hasOwn(narrowings, name) ? narrowings[name] : undefined
  facts.work.spend(isJoint(name) ? 1 : 1 + spellingOf(expression).length / charactersPerStep)
  const left = known === undefined ? facts : known(facts, body, holds)
  return left === null || isJoint(name) ? left : withTest(left, expression, holds)
}

/** A test reads its own literals and lists some times over. */
const charactersPerStep = 8

/** As `narrow`, of a condition that its operator asks for both outcomes, or more than once. */
function narrowAgain(facts: Facts, expression: CedarExpression, holds: boolean): Facts | null {
  return facts.once(expression, holds, () => narrow(facts, expression, holds))
}

const joints: ReadonlySet<string> = new Set(['Value', '!', '&&', '||', 'if-then-else', '!='])
const isJoint = (name: string): boolean => joints.has(name)

interface Joint {
  /** True if all parts must give `holds`; false if any of them suffices. */
  readonly all: boolean
  readonly holds: boolean
}

function narrowJoint(
  facts: Facts,
  parts: readonly CedarExpression[],
  { all, holds }: Joint,
): Facts | null {
  if (!all)
    return either(
      facts,
      parts.map((part) => narrow(facts, part, holds)),
    )
  let known: Facts | null = facts
  for (const part of parts) {
    if (known === null) return null
    known = narrow(known, part, holds)
  }
  return known
}

/**
 * It is not known which of several alternatives holds, and computing what they have in common is
 * not worth the cost.
 */
function either(facts: Facts, each: readonly (Facts | null)[]): Facts | null {
  const left = each.filter((one) => one !== null)
  return left.length > 1 ? facts : (left[0] ?? null)
}

function narrowChoice(facts: Facts, body: unknown, holds: boolean): Facts | null {
  const condition = expressionIn(body, 'if')
  const branch = (field: 'then' | 'else') => {
    const known = narrowAgain(facts, condition, field === 'then')
    return known && narrow(known, expressionIn(body, field), holds)
  }
  return either(facts, [branch('then'), branch('else')])
}

const isPossible = (facts: Facts, test: CedarExpression, holds: boolean): boolean =>
  narrowAgain(facts, test, holds) !== null

type Order = '<' | '<=' | '>' | '>='

const anyBounds: Bounds = { min: -Infinity, max: Infinity }
const mirrored = { '<': '>', '<=': '>=', '>': '<', '>=': '<=' } as const

function narrowOrder(facts: Facts, body: unknown, relation: Order): Facts | null {
  const [left, right] = [expressionIn(body, 'left'), expressionIn(body, 'right')]
  const known = ordered(facts, relation, left, boundsOf(facts, right, isPossible) ?? anyBounds)
  return (
    known &&
    ordered(known, mirrored[relation], right, boundsOf(facts, left, isPossible) ?? anyBounds)
  )
}

/** Narrows `expression` by its comparison with some number within `other`. */
function ordered(
  facts: Facts,
  relation: Order,
  expression: CedarExpression,
  other: Bounds,
): Facts | null {
  const isBelow = relation === '<' || relation === '<='
  const step = relation === '<' ? -1 : relation === '>' ? 1 : 0
  const [min, max] = isBelow ? [-Infinity, other.max + step] : [other.min + step, Infinity]
  return within(facts, expression, { min, max })
}

function within(facts: Facts, expression: CedarExpression, { min, max }: Bounds): Facts | null {
  const own = boundsOf(facts, expression, isPossible) ?? anyBounds
  if (own.min > max || own.max < min || min > max) return null
  const product = factorWithin(expression, { min, max })
  if (product !== null) return within(facts, product.factor, product.bounds)
  const part = partOf(expression)
  // For a part without any known facts, the operator shows that it is a number.
  return part === null ? facts : withRange(facts, part, min, max)
}

function narrowEqual(facts: Facts, body: unknown, holds: boolean): Facts | null {
  const sides = [expressionIn(body, 'left'), expressionIn(body, 'right')] as const
  const [a, b] = sides.map((side) => boundsOf(facts, side, isPossible))
  if (a !== null || b !== null) {
    return numbersEqual(facts, sides, [a ?? anyBounds, b ?? anyBounds], holds)
  }
  const [left, right] = sides.map(literalOf)
  if (left !== null && right !== null) return (left === right) === holds ? facts : null
  if (left !== null || right !== null) {
    const [side, literal] = left === null ? [sides[0], right] : [sides[1], left]
    return equalsLiteral(facts, side, literal ?? '', holds)
  }
  const set = elementsOfSet(sides[1]) === null ? [sides[1], sides[0]] : sides
  const elements = elementsOfSet(set[1] ?? sides[1])
  if (elements !== null) return equalsSet(facts, set[0] ?? sides[0], elements, holds)
  return partsEqual(facts, sides.map(partOf), holds)
}

function numbersEqual(
  facts: Facts,
  sides: readonly [CedarExpression, CedarExpression],
  [a, b]: readonly [Bounds, Bounds],
  holds: boolean,
): Facts | null {
  if (holds) {
    const known = within(facts, sides[0], b)
    return known && within(known, sides[1], a)
  }
  const isOne = (bounds: Bounds) => bounds.min === bounds.max
  if (isOne(a) && isOne(b)) return a.min === b.min ? null : facts
  const [side, other] = isOne(b) ? [sides[0], b] : [sides[1], a]
  const part = partOf(side)
  return part === null || !isOne(other) ? facts : withoutValue(facts, part, other.min)
}

function equalsLiteral(
  facts: Facts,
  side: CedarExpression,
  literal: string,
  holds: boolean,
): Facts | null {
  const part = partOf(side)
  if (part === null) {
    // A flag that is compared with true or false is that flag.
    const isFlag = literal === 'true' || literal === 'false'
    return isFlag ? narrow(facts, side, holds === (literal === 'true')) : facts
  }
  const entity = entityOf(literal)
  if (entity === null) return withValues(facts, part, [literal], holds)
  if (part === 'principal' || part === 'resource') return isEntity(facts, part, entity, holds)
  if (!groupExists(entity)) return holds ? null : facts
  return withValues(facts, part, [literal], holds)
}

interface Entity {
  readonly type: string
  readonly id: string
}

function entityOf(literal: string): Entity | null {
  const at = literal.indexOf('::"')
  if (at < 1 || literal.startsWith('"')) return null
  return { type: literal.slice(0, at), id: JSON.parse(literal.slice(at + 2)) as string }
}

/** False for a role or a segment of a name that none can have. */
function groupExists({ type, id }: Entity): boolean {
  return (type !== 'Role' && type !== 'Segment') || GROUPS[type](id)
}

function isEntity(facts: Facts, part: string, { type, id }: Entity, holds: boolean) {
  const known = withValues(facts, typeOf(part), [type], true)
  if (known === null) return holds ? null : facts
  return withValues(known, `${part}.name`, [quote(id)], holds)
}

function partsEqual(
  facts: Facts,
  [left, right]: readonly (string | null | undefined)[],
  holds: boolean,
): Facts | null {
  if (left === null || left === undefined || right === null || right === undefined) return facts
  if (left === right) return holds ? facts : null
  const areSubjects =
    ['principal', 'resource'].includes(left) && ['principal', 'resource'].includes(right)
  const pairs = areSubjects
    ? [[typeOf(left), typeOf(right)] as const, [`${left}.name`, `${right}.name`] as const]
    : [[left, right] as const]
  if (holds) {
    let known: Facts | null = facts
    for (const [a, b] of pairs) known = known && withEqual(known, a, b)
    return known
  }
  const values = pairs.map((pair) => pair.map((each) => onlyValueOf(facts, each)))
  return values.every(([a, b]) => a !== null && a === b) ? null : facts
}

function narrowIs(facts: Facts, body: unknown, holds: boolean): Facts | null {
  const left = expressionIn(body, 'left')
  const part = partOf(left)
  const type = textIn(body, 'entity_type')
  if (part !== 'principal' && part !== 'resource') return facts
  const inside = asExpression(body)['in']
  const known = withValues(facts, typeOf(part), [type], true)
  if (inside === undefined) return withValues(facts, typeOf(part), [type], holds)
  const within = known && narrowIn(known, { left, right: inside }, true)
  if (holds) return within
  return known === null ? facts : narrowIn(facts, { left, right: inside }, false)
}

/** The same entity, a role or segment that it stands in, or one of several of those. */
function narrowIn(facts: Facts, body: unknown, holds: boolean): Facts | null {
  const part = partOf(expressionIn(body, 'left'))
  const right = expressionIn(body, 'right')
  const elements = elementsOfSet(right) ?? [right]
  const groups = elements.map((element) => findEntityUid(element['Value']))
  if (part === null || groups.includes(null)) return facts
  const each = (known: Facts, group: Entity | null, wanted: boolean): Facts | null =>
    group === null ? known : narrowMember(known, part, group, wanted)
  if (holds)
    return either(
      facts,
      groups.map((group) => each(facts, group, true)),
    )
  let known: Facts | null = facts
  for (const group of groups) known = known && each(known, group, false)
  return known
}

function narrowMember(facts: Facts, part: string, group: Entity, holds: boolean): Facts | null {
  const isSubject = part === 'principal' || part === 'resource'
  if (!isSubject) return withValues(facts, part, [formatEntity(group)], holds)
  if (!groupExists(group)) return holds ? null : facts
  if (group.type === 'Segment') {
    return withValues(facts, `${part}.segment`, [formatEntity(group)], holds)
  }
  if (group.type !== 'Role') return isEntity(facts, part, group, holds)
  // Of roles, a subject has several: only that one itself is known.
  return withValues(facts, `${part} in ${formatEntity(group)}`, [String(holds)], true)
}

interface Containment {
  readonly holds: boolean
  readonly word: 'any' | 'all'
}

/** Above this many pairs of elements, a comparison of two sets is left as it is. */
const pairsMax = 4_096

function narrowContains(facts: Facts, body: unknown, { holds, word }: Containment): Facts | null {
  const set = expressionIn(body, 'left')
  const asked = expressionIn(body, 'right')
  const wanted =
    elementsOfSet(asked) ?? (partOf(asked) === null && literalOf(asked) === null ? null : [asked])
  if (wanted === null) return facts
  const elements = elementsOfSet(set)
  const part = spellingOf(set)
  if (elements === null)
    return elementsIn(facts, part) === null
      ? facts
      : contained(facts, part, wanted, { holds, word })
  if (elements.length * wanted.length > pairsMax && wanted.length > 1) return facts
  const isOne = (known: Facts, one: CedarExpression, is: boolean) =>
    isAmong(known, one, elements, is)
  return quantified(facts, wanted, { holds, word }, isOne)
}

function quantified(
  facts: Facts,
  wanted: readonly CedarExpression[],
  { holds, word }: Containment,
  test: (known: Facts, one: CedarExpression, is: boolean) => Facts | null,
): Facts | null {
  if ((word === 'any') === holds)
    return either(
      facts,
      wanted.map((one) => test(facts, one, holds)),
    )
  let known: Facts | null = facts
  for (const one of wanted) known = known && test(known, one, holds)
  return known
}

/** `[a, b].contains(one)`: of literals at once, because such a list can be long. */
function isAmong(
  facts: Facts,
  one: CedarExpression,
  elements: readonly CedarExpression[],
  holds: boolean,
): Facts | null {
  const literals = elements.map(literalOf).filter((literal) => literal !== null)
  const part = partOf(one)
  const isPlain = part !== null && part !== 'principal' && part !== 'resource'
  if (isPlain && literals.length === elements.length) {
    return withValues(facts, part, literals, holds)
  }
  const equals = (known: Facts, element: CedarExpression) =>
    narrowEqual(known, { left: one, right: element }, holds)
  if (holds)
    return either(
      facts,
      elements.map((element) => equals(facts, element)),
    )
  let known: Facts | null = facts
  for (const element of elements) known = known && equals(known, element)
  return known
}

function contained(
  facts: Facts,
  part: string,
  wanted: readonly CedarExpression[],
  containment: Containment,
): Facts | null {
  return quantified(facts, wanted, containment, (known, one, is) => {
    const literal = literalOf(one)
    // An element that is not spelt out is one all the same: not in an empty set.
    if (literal === null) return is ? withElements(known, part, { sizeMin: 1 }) : known
    return withElements(known, part, { [is ? 'has' : 'hasNot']: new Set([literal]) })
  })
}

function equalsSet(
  facts: Facts,
  side: CedarExpression,
  elements: readonly CedarExpression[],
  holds: boolean,
): Facts | null {
  const part = spellingOf(side)
  const literals = elements.map(literalOf).filter((literal) => literal !== null)
  if (elementsIn(facts, part) === null || literals.length < elements.length) return facts
  const has = new Set(literals)
  if (holds) return withElements(facts, part, { has, sizeMin: has.size, sizeMax: has.size })
  return has.size === 0 ? withElements(facts, part, { sizeMin: 1 }) : facts
}
