import { legible } from '@countersign/protocol'
import type { CedarPolicy } from './cedar-json.ts'
import type { CompiledPolicy } from './compile-policy.ts'
import { isDemand } from './obligations.ts'
import type { Decision, PolicyRequest } from './policy.ts'
import type { CompiledPolicySet } from './policy-set.ts'
import { type Requirement, requirementsOf } from './requirement.ts'

/** One policy compared with one request. */
export interface ExplainedPolicy {
  readonly policy: string
  readonly effect: 'permit' | 'forbid'
  readonly file: string
  readonly line: number
  readonly text: string
  /** The text of `@advice`, for the caller that was denied; null if there is none. */
  readonly advice: string | null
  /** As annotations, such as `@block("credential")`. */
  readonly demands: readonly string[]
  /** In the order of the policy: principal, action, resource, then each condition. */
  readonly requirements: readonly Requirement[]
}

export interface Explanation {
  readonly version: string
  readonly decision: Decision
  /** The policies that determined the decision, with everything they ask. */
  readonly determining: readonly ExplainedPolicy[]
  /** For a denial: the permits that came nearest, fewest unmet requirements first. */
  readonly nearest: readonly ExplainedPolicy[]
  /** The same for a person, several lines. */
  readonly text: string
}

/** Maximum number of near misses; a longer list would not help the reader. */
const nearestMax = 5

/**
 * Explains why `set` decides `request` as it does and, for a denial, which conditions would have to
 * hold. Walks every policy, so it is meant for people who ask, not for the request path.
 */
export function explainDecision(request: PolicyRequest, set: CompiledPolicySet): Explanation {
  const decision = set.decide(request)
  const determining = set.policies
    .filter(({ id }) => decision.policies.includes(id))
    .map((policy) => explainPolicy(policy, request))
  const nearest = decision.effect === 'deny' ? nearestPermits(request, set) : []
  const explained = { version: set.version, decision, determining, nearest }
  return { ...explained, text: toText(request, explained) }
}

function explainPolicy(policy: CompiledPolicy, request: PolicyRequest): ExplainedPolicy {
  const { id, effect, origin, cedar } = policy
  const advice = cedar.annotations?.['advice'] ?? null
  const requirements = requirementsOf(cedar, request)
  return { policy: id, effect, ...origin, advice, demands: demandsOf(cedar), requirements }
}

function demandsOf({ annotations }: CedarPolicy): readonly string[] {
  return Object.entries(annotations ?? {})
    .filter(([name]) => isDemand(name))
    .map(([name, value]) => (value === null ? `@${name}` : `@${name}(${JSON.stringify(value)})`))
}

/** A permit for another action is hardly what the asker meant, so that counts for several. */
const weights = { action: 3, principal: 1, resource: 1, condition: 1 } as const

function distanceOf({ requirements }: ExplainedPolicy): number {
  return unmet(requirements).reduce((sum, { part }) => sum + weights[part], 0)
}

function nearestPermits(
  request: PolicyRequest,
  set: CompiledPolicySet,
): readonly ExplainedPolicy[] {
  return set.policies
    .filter(({ effect }) => effect === 'permit')
    .map((policy) => explainPolicy(policy, request))
    .filter(isNear)
    .map((policy) => ({ policy, distance: distanceOf(policy) }))
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, nearestMax)
    .map(({ policy }) => policy)
}

/**
 * A permit for another action that meets none of its other requirements does not help the reader.
 */
function isNear({ requirements }: ExplainedPolicy): boolean {
  const otherAction = requirements.some(({ part, met }) => part === 'action' && !met)
  return !otherAction || requirements.some(({ met }) => met)
}

function unmet(requirements: readonly Requirement[]): readonly Requirement[] {
  return requirements.filter(({ met }) => !met)
}

/**
 * Formats the explanation as text. The fabric starts every line: no value can end a line, even one
 * that a caller worded.
 */
function toText(request: PolicyRequest, explained: Omit<Explanation, 'text'>): string {
  return linesOf(request, explained).map(legible).join('\n')
}

function linesOf(request: PolicyRequest, explained: Omit<Explanation, 'text'>): readonly string[] {
  const { decision, determining, nearest } = explained
  const { principal, action, resource } = request
  const said = decision.effect === 'permit' ? 'Permitted' : 'Denied'
  const lines = [
    `${said}: ${principal.kind} "${principal.name}" asks to ${action} ${resource.kind} "${resource.name}".`,
  ]
  for (const policy of determining) lines.push(...determiningLines(policy))
  for (const { policy, message } of decision.errors) {
    lines.push(`Policy "${policy}" could not be evaluated: ${message}.`)
  }
  if (decision.effect === 'permit') return lines
  if (determining.length === 0 && decision.errors.length === 0) {
    lines.push('No policy permits this, and what no policy permits is denied.')
  }
  for (const policy of nearest) lines.push(...nearestLines(policy, determining.length > 0))
  return lines
}

function determiningLines(policy: ExplainedPolicy): readonly string[] {
  const verb = policy.effect === 'permit' ? 'permits' : 'forbids'
  const head = `Policy "${policy.policy}" (${policy.file}:${policy.line}) ${verb} it:`
  const met = policy.requirements.filter((requirement) => requirement.met)
  const asked = met.map(({ cedar }) => `  because ${cedar}`)
  const advice = policy.advice === null ? [] : [`  Advice: ${policy.advice}`]
  const demands = policy.demands.map((demand) => `  and demands ${demand}`)
  const because = asked.length === 0 ? ['  because it asks for nothing'] : asked
  return [head, ...because, ...demands, ...advice]
}

function nearestLines(policy: ExplainedPolicy, forbidden: boolean): readonly string[] {
  const missing = unmet(policy.requirements)
  const head = `Policy "${policy.policy}" (${policy.file}:${policy.line})`
  if (missing.length === 0) {
    return [`${head} would permit it${forbidden ? ', were it not forbidden' : ''}.`]
  }
  return [`${head} would permit it, but:`, ...missing.map(({ says }) => `  ${says}`)]
}
