import type { CompiledPolicy } from './compile-policy.ts'
import { EvaluationError } from './evaluation-error.ts'
import { Frame } from './frame.ts'
import { NO_OBLIGATIONS, uniteObligations } from './obligations.ts'
import type { Decision, PolicyRequest, PolicySet } from './policy.ts'
import { type Candidate, createPolicyIndex } from './policy-index.ts'
import { RESOURCES_OF_ACTION } from './schema.ts'

/** The text of one policy file. */
export interface PolicySource {
  readonly name: string
  readonly text: string
}

/** Something about a policy that its author should know, at its place. */
export interface PolicyProblem {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly message: string
  /** Advice for the author; empty when the message itself is the best advice. */
  readonly help: string
}

export interface CompiledPolicySet extends PolicySet {
  readonly policies: readonly CompiledPolicy[]
  /** The sources of the set, sorted by name: enough to build it again elsewhere. */
  readonly sources: readonly PolicySource[]
  readonly warnings: readonly PolicyProblem[]
}

export interface PolicySetParts {
  readonly version: string
  readonly policies: readonly CompiledPolicy[]
  readonly sources: readonly PolicySource[]
  readonly warnings: readonly PolicyProblem[]
}

const defaultDeny: Decision = Object.freeze({
  effect: 'deny',
  policies: Object.freeze([]),
  errors: Object.freeze([]),
  obligations: NO_OBLIGATIONS,
})

type PolicyError = Decision['errors'][number]

interface Failure {
  readonly policy: CompiledPolicy
  readonly message: string
}

const none: readonly never[] = Object.freeze([])

/**
 * The results of the evaluated policies for one request. Lists are created only when they get an
 * entry.
 */
class Verdicts {
  readonly #frame: Frame
  permits: CompiledPolicy[] | null = null
  forbids: CompiledPolicy[] | null = null
  failed: Failure[] | null = null

  constructor(frame: Frame) {
    this.#frame = frame
  }

  judge(bucket: readonly Candidate[]): void {
    for (const { policy, matches } of bucket) {
      try {
        if (!matches(this.#frame)) continue
      } catch (error) {
        if (!(error instanceof EvaluationError)) throw error
        this.failed ??= []
        this.failed.push({ policy, message: error.message })
        continue
      }
      if (policy.effect === 'permit') this.permits = withPolicy(this.permits, policy)
      else this.forbids = withPolicy(this.forbids, policy)
    }
  }
}

export function createPolicySet(parts: PolicySetParts): CompiledPolicySet {
  const index = createPolicyIndex(parts.policies)
  return Object.freeze({
    ...parts,
    decide(request: PolicyRequest): Decision {
      if (!fitsSchema(request)) return misfit(request)
      const verdicts = new Verdicts(new Frame(request))
      index.candidates(request, verdicts)
      return conclude(verdicts)
    },
  })
}

/** No policy was validated for any other combination, so none may decide one. */
function fitsSchema({ action, principal, resource }: PolicyRequest): boolean {
  const resources: readonly string[] | undefined = RESOURCES_OF_ACTION[action]
  const isPrincipal = principal.kind === 'agent' || principal.kind === 'user'
  return isPrincipal && resources !== undefined && resources.includes(resource.kind)
}

function misfit({ action, principal, resource }: PolicyRequest): Decision {
  const message = `no policy can decide whether a ${principal.kind} may ${action} a ${resource.kind}`
  return { ...defaultDeny, errors: [{ policy: 'schema', message }] }
}

function withPolicy(list: CompiledPolicy[] | null, policy: CompiledPolicy): CompiledPolicy[] {
  if (list === null) return [policy]
  list.push(policy)
  return list
}

function conclude({ permits, forbids, failed }: Verdicts): Decision {
  if (failed === null) return decideBy(forbids ?? permits)
  const denying = forbids ?? []
  // A forbid that could not be evaluated might have fired, so it counts as one that did. Cedar
  // skips it, which would let through any caller that can provoke the error.
  for (const { policy } of failed) if (policy.effect === 'forbid') denying.push(policy)
  const decision = decideBy(denying.length > 0 ? denying : permits)
  return { ...decision, errors: failed.sort(inOrder).map(toError) }
}

/** The decision that `policies` determine together: all permits, or all forbids. */
function decideBy(policies: CompiledPolicy[] | null): Decision {
  const first = policies?.[0]
  if (policies === null || first === undefined) return defaultDeny
  if (policies.length === 1) return first.alone
  policies.sort(byOrdinal)
  const ids: string[] = []
  let obligations = NO_OBLIGATIONS
  for (const policy of policies) {
    ids.push(policy.id)
    obligations = uniteObligations(obligations, policy.obligations)
  }
  return { effect: first.alone.effect, policies: ids, errors: none, obligations }
}

function byOrdinal(a: CompiledPolicy, b: CompiledPolicy): number {
  return a.ordinal - b.ordinal
}

function inOrder(a: Failure, b: Failure): number {
  return byOrdinal(a.policy, b.policy)
}

function toError({ policy, message }: Failure): PolicyError {
  return { policy: policy.id, message }
}
