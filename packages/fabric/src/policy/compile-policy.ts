import {
  type CedarExpression,
  type CedarPolicy,
  type CedarScope,
  type EntityUid,
  operatorOf,
  PolicyUnsupported,
} from './cedar-json.ts'
import type { Test } from './closure.ts'
import { createCompiler } from './compile-expression.ts'
import { flatten } from './compile-test.ts'
import { parseObligations } from './obligations.ts'
import type { Decision, Obligations } from './policy.ts'
import { ENTITY_TYPES } from './schema.ts'
import type { Subject } from './values.ts'

/** The location of a policy's text, for errors and explanations. */
export interface PolicyOrigin {
  readonly file: string
  readonly line: number
  readonly text: string
}

export interface CompiledPolicy {
  readonly id: string
  /** Position among all policies of the set, which orders them in decisions. */
  readonly ordinal: number
  readonly origin: PolicyOrigin
  readonly cedar: CedarPolicy
  readonly effect: 'permit' | 'forbid'
  readonly obligations: Obligations
  /** The parts of the scope other than the action; null where every request meets them. */
  readonly principalScope: Test | null
  readonly resourceScope: Test | null
  /** Throws `EvaluationError` where Cedar's evaluation fails. */
  readonly conditions: readonly Test[]
  /** The decision when this policy alone determines it; made once, because it is the usual one. */
  readonly alone: Decision
}

/** A condition that must hold, for explanations: `holds` is what `expression` must give. */
export interface Conjunct {
  readonly expression: CedarExpression
  readonly holds: boolean
}

export interface PolicyIdentity {
  readonly id: string
  readonly ordinal: number
  readonly origin: PolicyOrigin
}

/** Throws `PolicyUnsupported`. */
export function compilePolicy(
  cedar: CedarPolicy,
  identity: PolicyIdentity,
  dataClasses: readonly string[],
): CompiledPolicy {
  refuseSlots(cedar.action)
  const obligations = parseObligations(cedar, dataClasses)
  const alone: Decision = Object.freeze({
    effect: cedar.effect === 'permit' ? 'permit' : 'deny',
    policies: Object.freeze([identity.id]),
    errors: Object.freeze([]),
    obligations,
  })
  return {
    ...identity,
    cedar,
    effect: cedar.effect,
    obligations,
    principalScope: compileSubjectScope(cedar.principal, 'principal'),
    resourceScope: compileSubjectScope(cedar.resource, 'resource'),
    conditions: conjunctsOf(cedar).map(compileConjunct),
    alone,
  }
}

/** All conditions taken apart at `&&`; `unless { a || b }` asks that both be false. */
export function conjunctsOf(cedar: CedarPolicy): readonly Conjunct[] {
  return cedar.conditions.flatMap(({ kind, body }) => {
    const holds = kind === 'when'
    const joint = holds ? '&&' : '||'
    const [operator, inner] = operatorOf(body)
    const parts = operator === joint ? flatten(joint, inner) : [body]
    return parts.map((expression) => ({ expression, holds }))
  })
}

export function compileConjunct({ expression, holds }: Conjunct): Test {
  const test = createCompiler().test(expression)
  return holds ? test : (frame) => !test(frame)
}

/** Null for a scope that every request meets. */
export function compileActionScope(scope: CedarScope): Test | null {
  refuseSlots(scope)
  if (scope.op === 'All') return null
  const actions = actionsOf(scope)
  const [only] = actions
  if (actions.length === 1) return ({ request }) => request.action === only
  return ({ request }) => actions.includes(request.action)
}

/** The names of the actions that a scope admits. The schema has no action groups. */
export function actionsOf(scope: CedarScope): readonly string[] {
  const uids = scope.entities ?? (scope.entity === undefined ? [] : [scope.entity])
  return uids
    .map(toUid)
    .filter(({ type }) => type === 'Action')
    .map(({ id }) => id)
}

/** Null for a scope that every request meets. */
export function compileSubjectScope(
  scope: CedarScope,
  side: 'principal' | 'resource',
): Test | null {
  const meets = compileSubjectTest(scope)
  if (meets === null) return null
  return side === 'principal'
    ? ({ request }) => meets(request.principal)
    : ({ request }) => meets(request.resource)
}

function compileSubjectTest(scope: CedarScope): ((subject: Subject) => boolean) | null {
  refuseSlots(scope)
  if (scope.op === 'All') return null
  if (scope.op === 'is') {
    const type = scope.entity_type
    const inside = scope.in?.entity
    if (inside === undefined) return (subject) => ENTITY_TYPES[subject.kind] === type
    const stands = standsIn(toUid(inside))
    return (subject) => ENTITY_TYPES[subject.kind] === type && stands(subject)
  }
  if (scope.entity === undefined)
    throw new PolicyUnsupported(`the scope "${scope.op}" is not known`)
  const uid = toUid(scope.entity)
  if (scope.op === 'in') return standsIn(uid)
  if (scope.op !== '==') throw new PolicyUnsupported(`the scope "${scope.op}" is not known`)
  return (subject) => subject.name === uid.id && ENTITY_TYPES[subject.kind] === uid.type
}

function standsIn({ type, id }: EntityUid): (subject: Subject) => boolean {
  if (type === 'Role') return (subject) => subject.roles.includes(id)
  if (type === 'Segment') return (subject) => subject.segment === id
  return (subject) => subject.name === id && ENTITY_TYPES[subject.kind] === type
}

/** The parser writes uids plainly or inside `__entity`; both mean the same. */
export function toUid(uid: EntityUid | { readonly __entity: EntityUid }): EntityUid {
  return '__entity' in uid ? uid.__entity : uid
}

function refuseSlots(scope: CedarScope): void {
  if (scope.slot !== undefined || scope.in?.slot !== undefined) {
    throw new PolicyUnsupported('policy templates are not taken; write the entity itself')
  }
}
