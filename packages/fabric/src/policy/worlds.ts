import {
  asExpression,
  type CedarExpression,
  type CedarPolicy,
  type CedarScope,
  operatorOf,
} from './cedar-json.ts'
import { actionsOf, toUid } from './compile-policy.ts'
import type { Domain } from './domains.ts'
import { Facts } from './facts.ts'
import { partsOf } from './lint.ts'
import type { LintWork } from './lint-work.ts'
import { narrow } from './narrow.ts'
import type { PolicyAction } from './policy.ts'
import type { RequestKind } from './possible.ts'
import { domainsOf, typeOf } from './request-domains.ts'

interface World {
  readonly action: PolicyAction
  readonly domains: ReadonlyMap<string, Domain>
}

/** Policies ask for few combinations of actions and parts; a set of others does not fill memory. */
const combinationsMax = 1_024

/**
 * One world for each kind of request of each kind of principal, with what a policy can ask of it.
 */
export class Worlds {
  readonly #all: readonly World[]
  readonly #known = new Map<string, readonly Facts[]>()
  readonly #work: LintWork

  constructor(kinds: readonly RequestKind[], work: LintWork) {
    this.#work = work
    this.#all = kinds.flatMap((kind) =>
      (['agent', 'user'] as const).map((principal) => ({
        action: kind.action,
        domains: domainsOf(kind, principal),
      })),
    )
  }

  /** The worlds in which the scope of the policy holds. */
  inScope(policy: CedarPolicy): readonly Facts[] {
    const scope = scopeTests(policy)
    const asked = [...scope, ...policy.conditions.map(({ body }) => body)].flatMap(partNames)
    const actions = policy.action.op === 'All' ? null : actionsOf(policy.action)
    const key = JSON.stringify([actions, [...new Set(asked)].toSorted()])
    let worlds = this.#known.get(key)
    if (worlds === undefined) {
      worlds = this.#distinct(actions, new Set(asked))
      if (this.#known.size >= combinationsMax) this.#known.clear()
      this.#known.set(key, worlds)
    }
    // Of its own, so that what is remembered of one policy's tests goes with it.
    return meeting(
      worlds.map(({ parts }) => new Facts(parts, this.#work)),
      scope.map((expression) => ({ expression, holds: true })),
    )
  }

  /**
   * Of each world only the parts that the policy asks for: worlds that differ in nothing else are
   * one.
   */
  #distinct(actions: readonly string[] | null, asked: ReadonlySet<string>): readonly Facts[] {
    const distinct = new Map<string, Facts>()
    for (const { action, domains } of this.#all) {
      if (actions !== null && !actions.includes(action)) continue
      const parts = new Map([...domains].filter(([part]) => asked.has(part)))
      distinct.set(keyOf(parts), new Facts(parts, this.#work))
    }
    return [...distinct.values()]
  }
}

/** Returns the worlds that are left in which each test gives the required result. */
export function meeting(
  worlds: readonly Facts[],
  tests: readonly { readonly expression: CedarExpression; readonly holds: boolean }[],
): readonly Facts[] {
  let left = worlds
  for (const { expression, holds } of tests) {
    left = left.map((facts) => narrow(facts, expression, holds)).filter((facts) => facts !== null)
  }
  return left
}

/** Returns the scope of principal and resource in the form of conditions. */
export function scopeTests({ principal, resource }: CedarPolicy): readonly CedarExpression[] {
  return [scopeTest('principal', principal), scopeTest('resource', resource)].flat()
}

function scopeTest(part: string, scope: CedarScope): readonly CedarExpression[] {
  const left = { Var: part }
  const entity = scope.entity ?? scope.in?.entity
  const right = entity === undefined ? undefined : { Value: { __entity: toUid(entity) } }
  const type = scope.entity_type
  const is = type === undefined ? [] : [{ is: { left, entity_type: type } }]
  if (right === undefined) return is
  return [...is, scope.op === '==' ? { '==': { left, right } } : { in: { left, right } }]
}

/** The parts of a request that an expression can depend on, by their names in a world. */
function partNames(expression: CedarExpression): readonly string[] {
  const [name, body] = operatorOf(expression)
  if (name === 'Var') return varNames(String(body))
  const inside = partsOf(body).flatMap(partNames)
  if (name !== '.') return inside
  const { left, attr } = asExpression(body)
  const isContext = asExpression(left)['Var'] === 'context'
  return isContext ? [`context.${String(attr)}`] : inside
}

function varNames(name: string): readonly string[] {
  return name === 'action' ? ['action'] : [typeOf(name), `${name}.name`]
}

const keys = new WeakMap<Domain, string>()

/** Domains are made once, with the worlds, and so are their keys. */
function keyOf(parts: World['domains']): string {
  return [...parts].map(([part, domain]) => `${part}\t${keyOfDomain(domain)}`).join('\n')
}

function keyOfDomain(domain: Domain): string {
  const known = keys.get(domain)
  if (known !== undefined) return known
  const key = JSON.stringify(domain, (_, value: unknown) =>
    value instanceof Set
      ? [...(value as Set<unknown>)]
      : typeof value === 'function'
        ? String(value)
        : value,
  )
  keys.set(domain, key)
  return key
}
