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
import { excerptOf, type Facts, quoteOf } from './facts.ts'
import { formatEntity } from './frame.ts'
import { type Lint, partsOf } from './lint.ts'
import { entityValuesOf, literalLints } from './lint-literals.ts'
import { isComparison, valueLints } from './lint-values.ts'
import { LintStopped, type LintWork } from './lint-work.ts'
import { narrow } from './narrow.ts'
import { type OperationNames, requestKinds } from './possible.ts'
import { GROUPS } from './request-domains.ts'
import { meeting, scopeTests, Worlds } from './worlds.ts'

/**
 * Finds what a strict validator does not: conditions that no request can meet, names that do not
 * exist, and conditions that fail for almost every request, which makes a `forbid` deny all of
 * them. A policy without lints may still be wrong; one with lints is.
 */
export function createPolicyLint(
  operations: OperationNames | null,
  work: LintWork,
): (policy: CedarPolicy) => readonly Lint[] {
  const worlds = new Worlds(requestKinds(operations), work)
  return (policy) => {
    const found = new Findings()
    work.beginPolicy()
    try {
      lintPolicy(policy, worlds, found)
    } catch (error) {
      if (!(error instanceof LintStopped)) throw error
      const help = 'mend what is listed, or split the policy, and check it again'
      return [...found.lints, { message: error.message, help }]
    }
    return found.lints
  }
}

/** A policy has so many warnings, and one that there are more. */
const lintsMax = 20

/** The lints of one policy, each once. */
class Findings {
  readonly #lints = new Map<string, Lint>()

  get lints(): readonly Lint[] {
    return [...this.#lints.values()]
  }

  add(lints: Iterable<Lint>): void {
    for (const lint of lints) {
      if (this.#lints.has(lint.message)) continue
      if (this.#lints.size === lintsMax) {
        throw new LintStopped(`this policy has more than ${lintsMax} warnings`)
      }
      this.#lints.set(lint.message, lint)
    }
  }

  /** Together with the lint of the same condition, which knows better what was meant. */
  addImpossible(lint: Lint, text: string): void {
    const message = `no request meets ${text}`
    const same = this.#lints.get(message)
    this.#lints.delete(message)
    this.add([{ ...lint, help: same?.help ?? lint.help }])
  }
}

function lintPolicy(policy: CedarPolicy, all: Worlds, found: Findings): void {
  found.add(nameLints(policy))
  const scope = all.inScope(policy)
  if (scope.length === 0) {
    found.add([unmetScope(policy)])
    return
  }
  found.add(valueLints(policy, scope))
  let worlds = scope
  const earlier: string[] = []
  for (const conjunct of conjunctsOf(policy)) {
    found.add(literalLints(policy, conjunct, worlds))
    found.add(partLints(conjunct, worlds))
    const text = textOf(conjunct)
    worlds = meeting(worlds, [conjunct])
    if (worlds.length === 0) {
      const isAlone = meeting(scope, [conjunct]).length === 0
      found.addImpossible(impossible(policy, text, isAlone ? [] : earlier), text)
      return
    }
    earlier.push(text)
  }
  // A later condition may contradict an earlier one, as `principal == resource` can.
  const again = meeting(worlds, conjunctsOf(policy))
  const [last = '', ...others] = earlier.toReversed()
  if (again.length === 0) found.add([impossible(policy, last, others.toReversed())])
}

function textOf({ expression, holds }: Conjunct): string {
  const text = quoteOf(expression)
  return holds ? text : `!(${text})`
}

function unmetScope(policy: CedarPolicy): Lint {
  const asked = scopeTests(policy).map(quoteOf).join(' and ')
  return {
    message: `this ${policy.effect} never matches: no request of its actions meets ${asked === '' ? 'its scope' : asked}`,
    help: 'docs/policy.md lists which resources an action is asked of',
  }
}

function impossible(policy: CedarPolicy, text: string, earlier: readonly string[]): Lint {
  const why =
    earlier.length === 0
      ? `no request meets ${text}`
      : `no request meets ${text} together with ${joined(earlier)}`
  return {
    message: `this ${policy.effect} never matches: ${why}`,
    help: 'operations, tools, labels and tasks belong to protocols and actions; docs/policy.md lists them',
  }
}

/** As many conditions as a sentence takes. */
const joinedMax = 8

function joined(texts: readonly string[]): string {
  const more = texts.length - joinedMax
  const named = texts.slice(0, joinedMax).join(' and ')
  return more > 0 ? `${named} and ${more} more` : named
}

/**
 * Parts of one condition that cannot hold while others can, and an `unless` without effect.
 */
function* partLints(conjunct: Conjunct, worlds: readonly Facts[]): Iterable<Lint> {
  const { expression, holds } = conjunct
  yield* alternativeLints(conjunct, worlds, quoteOf(expression))
  const isIdle = !holds && !isComparison(expression) && !isPossible(worlds, expression, true)
  if (!isIdle) return
  const message = `no request meets ${quoteOf(expression)}, so that its unless changes nothing`
  yield { message, help: 'compare with values that occur together' }
}

function isPossible(
  worlds: readonly Facts[],
  expression: CedarExpression,
  holds: boolean,
): boolean {
  return worlds.some((facts) => narrow(facts, expression, holds) !== null)
}

function* alternativeLints(
  { expression, holds }: Conjunct,
  worlds: readonly Facts[],
  whole: string,
): Iterable<Lint> {
  const [name, body] = operatorOf(expression)
  if (name === '!') {
    const conjunct = { expression: expressionIn(body, 'arg'), holds: !holds }
    yield* alternativeLints(conjunct, worlds, whole)
    return
  }
  if (name !== '&&' && name !== '||') return
  const parts = flatten(name, body)
  const isAnyOf = (name === '||') === holds
  if (!isAnyOf || !isPossible(worlds, expression, holds)) return
  for (const part of parts) {
    const conjunct = { expression: part, holds }
    const left = meeting(worlds, [conjunct])
    // A part that must not hold and never does is not a mistake by itself: `valueLints` checks it.
    if (left.length > 0) yield* alternativeLints(conjunct, worlds, whole)
    else if (holds) yield deadAlternative(quoteOf(part), whole)
  }
}

function deadAlternative(part: string, whole: string): Lint {
  return {
    message: `no request meets ${part}, one of the alternatives in ${whole}`,
    help: 'remove the alternative, or correct the value it compares with',
  }
}

/** Entities that cannot exist: no agent, channel, role or segment can be given such a name. */
function* nameLints(policy: CedarPolicy): Iterable<Lint> {
  const scoped = [policy.principal, policy.resource].flatMap(entitiesOf)
  const compared = policy.conditions.flatMap(({ body }) => literalsIn(body))
  for (const uid of [...scoped, ...compared]) {
    const exists = Object.hasOwn(existing, uid.type) ? existing[uid.type] : undefined
    if (exists === undefined || exists(uid.id)) continue
    const help =
      uid.type === 'Fabric'
        ? 'the fabric is Fabric::"fabric"'
        : 'names have lower-case letters, digits, dot, dash and underscore'
    yield { message: `${excerptOf(formatEntity(uid))} cannot exist`, help }
  }
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
