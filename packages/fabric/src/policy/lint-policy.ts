import { isAssignableName } from '@countersign/protocol'
import {
  type CedarExpression,
  type CedarPolicy,
  type CedarScope,
  type EntityUid,
  expressionIn,
  operatorOf,
} from './cedar-json.ts'
import { type Conjunct, conjunctsOf, toUid } from './compile-policy.ts'
import { flatten } from './compile-test.ts'
import type { Facts } from './facts.ts'
import { formatExpression } from './format-expression.ts'
import { formatEntity } from './frame.ts'
import { type Lint, partsOf } from './lint.ts'
import { entityValuesOf, literalLints } from './lint-literals.ts'
import { isComparison, valueLints } from './lint-values.ts'
import { narrow } from './narrow.ts'
import { type OperationNames, requestKinds } from './possible.ts'
import { GROUPS } from './request-domains.ts'
import { meeting, scopeTests, Worlds } from './worlds.ts'

/**
 * Finds what a strict validator does not: conditions that no request can meet, names that do not exist,
 * and conditions that fail for almost every request, which makes a `forbid` deny all of them. A policy
 * without lints may still be wrong; one with lints is.
 */
export function createPolicyLint(
  operations: OperationNames | null,
): (policy: CedarPolicy) => readonly Lint[] {
  const worlds = new Worlds(requestKinds(operations))
  return (policy) => {
    const seen = new Set<string>()
    return lintPolicy(policy, worlds).filter(({ message }) => {
      const isNew = !seen.has(message)
      seen.add(message)
      return isNew
    })
  }
}

function lintPolicy(policy: CedarPolicy, all: Worlds): readonly Lint[] {
  const names = nameLints(policy)
  const scope = all.inScope(policy)
  if (scope.length === 0) return [...names, unmetScope(policy)]
  const lints: Lint[] = [...names, ...valueLints(policy, scope)]
  let worlds = scope
  const earlier: string[] = []
  for (const conjunct of conjunctsOf(policy)) {
    lints.push(...literalLints(policy, conjunct, worlds), ...partLints(conjunct, worlds))
    const text = textOf(conjunct)
    worlds = meeting(worlds, [conjunct])
    if (worlds.length === 0) {
      const isAlone = meeting(scope, [conjunct]).length === 0
      return withImpossible(lints, impossible(policy, text, isAlone ? [] : earlier), text)
    }
    earlier.push(text)
  }
  // What a later condition tells may contradict an earlier one, such as `principal == resource`.
  const again = meeting(worlds, conjunctsOf(policy))
  const [last = '', ...others] = earlier.toReversed()
  return again.length > 0 ? lints : [...lints, impossible(policy, last, others.toReversed())]
}

/** Together with the lint of the same condition, which knows better what was meant. */
function withImpossible(lints: readonly Lint[], lint: Lint, text: string): readonly Lint[] {
  const same = lints.find(({ message }) => message === `no request meets ${text}`)
  if (same === undefined) return [...lints, lint]
  return [...lints.filter((each) => each !== same), { ...lint, help: same.help }]
}

function textOf({ expression, holds }: Conjunct): string {
  const text = formatExpression(expression)
  return holds ? text : `!(${text})`
}

function unmetScope(policy: CedarPolicy): Lint {
  const asked = scopeTests(policy).map(formatExpression).join(' and ')
  return {
    message: `this ${policy.effect} never matches: no request of its actions meets ${asked === '' ? 'its scope' : asked}`,
    help: 'docs/policy.md lists which resources an action is asked of',
  }
}

function impossible(policy: CedarPolicy, text: string, earlier: readonly string[]): Lint {
  const why =
    earlier.length === 0
      ? `no request meets ${text}`
      : `no request meets ${text} together with ${earlier.join(' and ')}`
  return {
    message: `this ${policy.effect} never matches: ${why}`,
    help: 'operations, tools, labels and tasks belong to protocols and actions; docs/policy.md lists them',
  }
}

/** Parts of one condition that cannot hold beside others that can, and an `unless` without effect. */
function partLints(conjunct: Conjunct, worlds: readonly Facts[]): readonly Lint[] {
  const { expression, holds } = conjunct
  const lints = alternativeLints(conjunct, worlds, formatExpression(expression))
  const isIdle = !holds && !isComparison(expression) && !isPossible(worlds, expression, true)
  if (!isIdle) return lints
  const message = `no request meets ${formatExpression(expression)}, so that its unless changes nothing`
  return [...lints, { message, help: 'compare with values that occur together' }]
}

function isPossible(
  worlds: readonly Facts[],
  expression: CedarExpression,
  holds: boolean,
): boolean {
  return worlds.some((facts) => narrow(facts, expression, holds) !== null)
}

function alternativeLints(
  { expression, holds }: Conjunct,
  worlds: readonly Facts[],
  whole: string,
): readonly Lint[] {
  const [name, body] = operatorOf(expression)
  if (name === '!') {
    const conjunct = { expression: expressionIn(body, 'arg'), holds: !holds }
    return alternativeLints(conjunct, worlds, whole)
  }
  if (name !== '&&' && name !== '||') return []
  const parts = flatten(name, body)
  const isAnyOf = (name === '||') === holds
  if (!isAnyOf || !isPossible(worlds, expression, holds)) return []
  return parts.flatMap((part) => {
    const conjunct = { expression: part, holds }
    const left = meeting(worlds, [conjunct])
    // Of what must not hold, one that never does is no mistake by itself: `valueLints` looks at it.
    if (left.length > 0) return alternativeLints(conjunct, worlds, whole)
    return holds ? [deadAlternative(formatExpression(part), whole)] : []
  })
}

function deadAlternative(part: string, whole: string): Lint {
  return {
    message: `no request meets ${part}, one of the alternatives in ${whole}`,
    help: 'remove the alternative, or correct the value it compares with',
  }
}

/** Entities that cannot exist: no agent, channel, role or segment can be given such a name. */
function nameLints(policy: CedarPolicy): readonly Lint[] {
  const scoped = [policy.principal, policy.resource].flatMap(entitiesOf)
  const compared = policy.conditions.flatMap(({ body }) => literalsIn(body))
  return [...scoped, ...compared].flatMap((uid) => {
    const exists = Object.hasOwn(existing, uid.type) ? existing[uid.type] : undefined
    if (exists === undefined || exists(uid.id)) return []
    const help =
      uid.type === 'Fabric'
        ? 'the fabric is Fabric::"fabric"'
        : 'names have lower-case letters, digits, dot, dash and underscore'
    return [{ message: `${formatEntity(uid)} cannot exist`, help }]
  })
}

const existing: Readonly<Record<string, (id: string) => boolean>> = {
  Agent: isAssignableName,
  User: isAssignableName,
  Channel: isAssignableName,
  Fabric: (id) => id === 'fabric',
  ...GROUPS,
}

function entitiesOf(scope: CedarScope): readonly EntityUid[] {
  const uids = [scope.entity, scope.in?.entity, ...(scope.entities ?? [])]
  return uids.flatMap((uid) => (uid === undefined ? [] : [toUid(uid)]))
}

function literalsIn(expression: CedarExpression): readonly EntityUid[] {
  const own = entityValuesOf(expression)
  return own.length > 0 ? own : partsOf(operatorOf(expression)[1]).flatMap(literalsIn)
}
