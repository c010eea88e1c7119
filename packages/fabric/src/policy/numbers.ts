import {
  asExpression,
  asList,
  type CedarExpression,
  expressionIn,
  operatorOf,
} from './cedar-json.ts'
import { parseDatetime, parseDuration } from './extension-values.ts'
import { type Facts, partOf, rangeIn, spellingOf } from './facts.ts'

/** Inclusive bounds of what an expression can give. */
export interface Bounds {
  readonly min: number
  readonly max: number
}

/**
 * Reports whether a test can give this result. The caller passes the function, to keep the modules
 * apart.
 */
export type IsPossible = (facts: Facts, test: CedarExpression, holds: boolean) => boolean

const dayMs = 86_400_000
const unitsMs: Readonly<Record<string, number>> = {
  toMilliseconds: 1,
  toSeconds: 1_000,
  toMinutes: 60_000,
  toHours: 3_600_000,
  toDays: dayMs,
}

/**
 * Bounds of a whole number, or of an instant or a duration in milliseconds; null where the
 * expression is neither. Never narrower than what can be: beyond exact numbers, they are infinite.
 */
export function boundsOf(
  facts: Facts,
  expression: CedarExpression,
  isPossible: IsPossible,
): Bounds | null {
  const [name, body] = operatorOf(expression)
  const of = (field: string) => boundsOf(facts, expressionIn(body, field), isPossible)
  if (name === 'Value') return typeof body === 'number' ? exact(body) : null
  if (name === 'datetime' || name === 'duration') return instantOf(name, body)
  if (name === 'neg') return negative(of('arg'))
  if (name === '+') return sum(of('left'), of('right'))
  if (name === '-') return difference(body, of('left'), of('right'))
  if (name === '*') return product(of('left'), of('right'))
  if (name === 'if-then-else') {
    const condition = expressionIn(body, 'if')
    const branches = [
      isPossible(facts, condition, true) ? [of('then')] : [],
      isPossible(facts, condition, false) ? [of('else')] : [],
    ]
    return branches.flat().reduce(hull, { min: Infinity, max: -Infinity })
  }
  const part = partOf(expression)
  const known = part === null ? null : rangeIn(facts, part)
  return (
    known ??
    (Array.isArray(body) ? ofCall(name, body, (each) => boundsOf(facts, each, isPossible)) : null)
  )
}

function ofCall(
  name: string,
  body: readonly unknown[],
  of: (expression: CedarExpression) => Bounds | null,
): Bounds | null {
  const [first, second] = asList(body).map(asExpression)
  const bounds = first === undefined ? null : of(first)
  if (name === 'toTime') return { min: 0, max: dayMs - 1 }
  if (bounds === null) return null
  if (name === 'toDate') return wide({ min: bounds.min - dayMs + 1, max: bounds.max })
  const unit = unitsMs[name]
  if (unit !== undefined) {
    return { min: Math.trunc(bounds.min / unit), max: Math.trunc(bounds.max / unit) }
  }
  const other = second === undefined ? null : of(second)
  if (name === 'offset') return sum(bounds, other)
  return name === 'durationSince' ? sum(bounds, negative(other)) : null
}

/** A value minus itself is zero. */
function difference(body: unknown, a: Bounds | null, b: Bounds | null): Bounds | null {
  const isSame = spellingOf(expressionIn(body, 'left')) === spellingOf(expressionIn(body, 'right'))
  return isSame && a !== null ? exact(0) : sum(a, negative(b))
}

/**
 * Of a product with a number that is spelt out, the other factor, and what it is within where the
 * product is within `bounds`: no whole number is half of three. Null for other expressions.
 */
export function factorWithin(
  expression: CedarExpression,
  { min, max }: Bounds,
): { readonly factor: CedarExpression; readonly bounds: Bounds } | null {
  const [name, body] = operatorOf(expression)
  if (name !== '*') return null
  const sides = [expressionIn(body, 'left'), expressionIn(body, 'right')] as const
  for (const [factor, spelt] of [sides, [sides[1], sides[0]] as const]) {
    const [kind, by] = operatorOf(spelt)
    if (kind !== 'Value' || typeof by !== 'number' || by === 0) continue
    const [low, high] = by > 0 ? [min, max] : [-max, -min]
    const size = Math.abs(by)
    return { factor, bounds: { min: -dividedDown(-low, size), max: dividedDown(high, size) } }
  }
  return null
}

/** Without a quotient that is rounded before it is cut off. */
function dividedDown(value: number, by: number): number {
  if (!Number.isFinite(value)) return value
  const rest = value % by
  return (value - (rest < 0 ? rest + by : rest)) / by
}

const exact = (value: number): Bounds => ({ min: value, max: value })

function negative(bounds: Bounds | null): Bounds | null {
  return bounds && { min: -bounds.max, max: -bounds.min }
}

function sum(a: Bounds | null, b: Bounds | null): Bounds | null {
  return a && b && wide({ min: a.min + b.min, max: a.max + b.max })
}

function product(a: Bounds | null, b: Bounds | null): Bounds | null {
  if (a === null || b === null) return null
  const corners = [a.min, a.max].flatMap((x) =>
    [b.min, b.max].map((y) => (x === 0 || y === 0 ? 0 : x * y)),
  )
  return wide({ min: Math.min(...corners), max: Math.max(...corners) })
}

function hull(a: Bounds | null, b: Bounds | null): Bounds | null {
  return a && b && { min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) }
}

function wide({ min, max }: Bounds): Bounds {
  return {
    min: min < -Number.MAX_SAFE_INTEGER ? -Infinity : min,
    max: max > Number.MAX_SAFE_INTEGER ? Infinity : max,
  }
}

/** In milliseconds, as the parts that are compared with it are. */
function instantOf(name: 'datetime' | 'duration', body: unknown): Bounds | null {
  const [argument] = asList(body)
  const [kind, text] = argument === undefined ? [] : operatorOf(asExpression(argument))
  if (kind !== 'Value' || typeof text !== 'string') return null
  try {
    return wide(exact(Number((name === 'datetime' ? parseDatetime(text) : parseDuration(text)).ms)))
  } catch {
    // A value that cannot be read fails at evaluation, and the error is reported there.
    return null
  }
}
