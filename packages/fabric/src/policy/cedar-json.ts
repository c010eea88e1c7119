/**
 * Cedar's JSON form of one policy ("EST"), as the parser gives it: see "JSON policy format" in the
 * Cedar reference. Only what the compiler reads is described; it refuses every shape it does not
 * know.
 */
export interface CedarPolicy {
  readonly effect: 'permit' | 'forbid'
  readonly principal: CedarScope
  readonly action: CedarScope
  readonly resource: CedarScope
  readonly conditions: readonly CedarCondition[]
  readonly annotations?: Readonly<Record<string, string | null>>
}

export interface EntityUid {
  readonly type: string
  readonly id: string
}

export interface CedarScope {
  readonly op: string
  readonly entity?: EntityUid
  readonly entities?: readonly EntityUid[]
  readonly entity_type?: string
  readonly in?: { readonly entity?: EntityUid; readonly slot?: string }
  readonly slot?: string
}

export interface CedarCondition {
  readonly kind: 'when' | 'unless'
  readonly body: CedarExpression
}

/** One key names the operator; what it holds depends on it. */
export type CedarExpression = Readonly<Record<string, unknown>>

/** A policy, or an operator in one, that this fabric does not take. Becomes a `PolicyProblem`. */
export class PolicyUnsupported extends Error {}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The only operator of `expression` and what it holds. */
export function operatorOf(expression: CedarExpression): readonly [string, unknown] {
  const [entry, ...rest] = Object.entries(expression)
  if (entry === undefined || rest.length > 0) {
    throw new PolicyUnsupported('an expression must have exactly one operator')
  }
  return entry
}

export function asExpression(value: unknown): CedarExpression {
  if (!isObject(value)) throw new PolicyUnsupported('an expression was expected')
  return value
}

export function expressionIn(value: unknown, field: string): CedarExpression {
  return asExpression(asExpression(value)[field])
}

export function textIn(value: unknown, field: string): string {
  const text = asExpression(value)[field]
  if (typeof text !== 'string') throw new PolicyUnsupported(`"${field}" must be text`)
  return text
}

export function asList(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new PolicyUnsupported('a list was expected')
  return value
}

/** The uid of an entity literal, `{ "__entity": { "type", "id" } }`, or null for another value. */
export function findEntityUid(value: unknown): EntityUid | null {
  if (!isObject(value)) return null
  const uid = value['__entity']
  if (!isObject(uid)) return null
  const { type, id } = uid
  return typeof type === 'string' && typeof id === 'string' ? { type, id } : null
}
