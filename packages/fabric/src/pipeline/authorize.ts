import { formatLimit, type PrincipalKey, type RefusalCode } from '@countersign/protocol'
import type { Caller } from '../identity/caller.ts'
import type { AgentRecord } from '../identity/directory.ts'
import { Refusal, type RefusalFacts } from '../lib/refusal.ts'
import type { Decision, PolicyRequest, PolicySet } from '../policy/policy.ts'
import { isOfInspection } from '../policy/stated-codes.ts'
import { type Authority, becomeFresh } from '../state/authority.ts'
import type { Authenticated } from './authenticate.ts'
import { type Exchange, extend } from './exchange.ts'
import type { Quota, RateLimits } from './quota.ts'
import type { Target } from './unchecked-request.ts'

/** The principal that the target's name stands for, with the attributes that policy may read. */
export type Receiver = PolicyRequest['resource']

/** Dependencies of the stage: policy, detection and the lookup of receivers. */
export interface AuthorizeDeps {
  /**
   * The set in force now; read once per decision, so that a reload never splits one. Throws while
   * nothing can be decided, as with a state that is too old: `undecided`.
   */
  policy(): PolicySet
  /** The state that others may have changed; absent where `policy` alone shows its age. */
  readonly authority?: Authority
  riskOf(principal: PrincipalKey, now: number): number
  /** The receiver of that kind and name, or null when there is none. */
  findReceiver(kind: Receiver['kind'], name: string): Receiver | null
  /**
   * True when the receiver is known and its status is not active, such as an agent in quarantine.
   * Absent if that cannot occur.
   */
  isDismissed?(kind: Receiver['kind'], name: string): boolean
  /** The record that the caller's standing is re-checked against. */
  findPrincipal(principal: PrincipalKey): AgentRecord | null
  /** As `findPrincipal`, by the name that messages of channels have for their sender. */
  findMember(name: string): AgentRecord | null
  /** The fabric's, within which names are bare. */
  readonly trustDomain: string
  /** False once the credential was taken back before its time; absent where none can be. */
  credentialStands?(caller: Caller): boolean
  /**
   * Unix milliseconds until which the caller's credential was renewed; 0 where it was not. Absent
   * where credentials are not renewed.
   */
  continuesUntil?(caller: Caller): number
  /** False while not even an ending could be recorded; absent where the ledger is another's. */
  canRecord?(): boolean
  readonly limits: RateLimits
  now(): number
}

const authorized: unique symbol = Symbol('authorized')

interface DecisionMade {
  readonly decision: Decision
  /** The question that policy was asked. */
  readonly question: PolicyRequest
  readonly policyVersion: string
}

/** Made in this file only. */
interface Authorization extends DecisionMade {
  readonly [authorized]: true
  readonly quota: Quota
}

/** Known once policy has permitted the request, with its obligations. */
export type Authorized = Authenticated & Authorization

/** A refusal that remembers the question, so that `explain` can answer it later. */
export class PolicyRefusal extends Refusal {
  readonly made: DecisionMade

  constructor(
    code: RefusalCode,
    detail: string,
    made: DecisionMade,
    { retryAfterMs, ...facts }: RefusalFacts & { readonly retryAfterMs?: number | null } = {},
  ) {
    super(code, detail, retryAfterMs, facts)
    this.made = made
  }

  /** `refusal` of inspection, with the decision that it enforces. */
  static after(
    { decision, question, policyVersion }: Exchange<Authorized>,
    refusal: Refusal,
  ): Refusal {
    // The fabric takes no other from a connector as what a decision led to.
    if (!isOfInspection(refusal.code)) return refusal
    return PolicyRefusal.of({ decision, question, policyVersion }, refusal)
  }

  /** `refusal` of what policy requires, with the decision that requires it. */
  static of({ decision, question, policyVersion }: DecisionMade, refusal: Refusal): Refusal {
    const made = { decision, question, policyVersion }
    return new PolicyRefusal(refusal.code, refusal.detail, made, refusal)
  }
}

export async function authorize(
  exchange: Exchange<Authenticated>,
  deps: AuthorizeDeps,
): Promise<Exchange<Authorized> | Refusal> {
  const { caller, target } = exchange
  if (deps.authority?.isCurrent() === false) await becomeFresh(deps.authority)
  const receiver = deps.findReceiver(target.kind, target.name)
  // The quota is spent before policy is asked, so that it also limits a caller that is denied in a
  // loop. All unknown names share one allowance: otherwise a caller would have as many allowances
  // as names it can make up.
  const quota = await deps.limits.spend(
    caller.principal,
    receiver === null ? '' : countedAs(target),
  )
  if (quota.exhausted) {
    const detail = `${caller.name} used up ${quota.limit} on ${target.name}`
    return new QuotaRefusal('RATE_LIMITED', detail, quota)
  }
  // A receiver that the caller may not see and one that does not exist look alike to policy below;
  // only a caller that could be permitted learns the difference.
  const resource = receiver ?? unknownReceiver(target.kind, target.name)
  const request = policyRequest(exchange, { principal: caller, resource }, deps)
  const policy = deps.policy()
  const made = decideEach(policy, request, exchange)
  const { decision } = made
  if (outOfScope(caller.scopes, target)) {
    return new PolicyRefusal(
      'NOT_PERMITTED',
      `the credential is not scoped to ${target.name}`,
      made,
    )
  }
  if (decision.effect !== 'permit') {
    // Without a receiver, policy sees no roles that could permit the request: the caller did not
    // cause that.
    const byOthers = receiver === null && deps.isDismissed?.(target.kind, target.name) === true
    return new PolicyRefusal('NOT_PERMITTED', denialDetail(decision), made, { byOthers })
  }
  if (receiver === null) {
    return new PolicyRefusal('RECEIVER_UNKNOWN', `no ${target.kind} is named ${target.name}`, made)
  }
  if (decision.obligations.signedRequest && !exchange.signed) {
    return new PolicyRefusal(
      'SIGNATURE_MISSING',
      `${decision.policies.join(', ')} obliges one`,
      made,
    )
  }
  return extend(exchange, { [authorized]: true as const, ...made, quota })
}

/**
 * Returns the decision on the request, or on the first other question that may not pass. Each set
 * of labels is decided by itself, because the labels of one message do not apply to another.
 */
function decideEach(
  policy: PolicySet,
  request: PolicyRequest,
  { target, signed }: Exchange<Authenticated>,
): DecisionMade {
  const policyVersion = policy.version
  const first = { decision: policy.decide(request), question: request, policyVersion }
  const others = otherQuestions(request, target)
  if (others.length === 0 || !sealedMayPass(first.decision, request.context.labels, signed)) {
    return first
  }
  for (const other of others) {
    const decision = policy.decide(other)
    const { labels } = other.context
    if (!sealedMayPass(decision, labels, signed)) return { ...first, decision, question: other }
  }
  return first
}

function otherQuestions(request: PolicyRequest, { otherLabels = [] }: Target): PolicyRequest[] {
  const { context, action } = request
  const others = otherLabels.map((labels) => ({ ...request, context: { ...context, labels } }))
  if (action !== 'publish' || context.user === undefined) return others
  // A stored message outlives the proof of its sender's user: it is handed out without one, and
  // would wait in the channel for ever where policy permits it for that user alone.
  const alone = [request, ...others].map((each) => ({
    ...each,
    context: withoutUser(each.context),
  }))
  return [...others, ...alone]
}

function withoutUser({ user: _, ...context }: PolicyRequest['context']): PolicyRequest['context'] {
  return context
}

/**
 * Reports whether a sealed message passes. It cannot be masked, so its labels must state which
 * classes it lacks.
 */
export function sealedMayPass(
  { effect, obligations }: Decision,
  labels: readonly string[],
  signed: boolean,
): boolean {
  const { mask, block, approval, signedRequest } = obligations
  if (effect !== 'permit' || approval !== null || (signedRequest && !signed)) return false
  return [...mask, ...block].every((name) => labels.includes(`no-${name}`))
}

/**
 * A refusal that remembers the allowance it ran into, for the `RateLimit` field of the response.
 */
export class QuotaRefusal extends Refusal {
  readonly quota: Quota

  constructor(code: RefusalCode, detail: string, quota: Quota) {
    const limit = {
      name: 'limits.requestsPerMinute',
      value: quota.limit,
      unit: 'per-minute',
    } as const
    super(code, detail, quota.resetMs, { limit: formatLimit(limit) })
    this.quota = quota
  }
}

/**
 * Returns the name under which an allowance is counted. No agent name contains a blank, so a
 * caller's requests to the fabric itself are counted apart from its calls, and a connector's
 * records apart from both.
 */
function countedAs({ kind, name, action }: Target): string {
  return kind === 'fabric' ? `${name} ${action}` : name
}

/**
 * Operations of the fabric that a scoped credential may call. All others (state, discovery, ledger,
 * administration, any added later) disclose or change more than the scopes name.
 */
export const SCOPED_OPERATIONS: ReadonlySet<string> = new Set(['own.receipt'])

/** A scoped credential reaches its targets, and of the fabric only what is narrowed to them. */
export function outOfScope(scopes: readonly string[] | null, target: Target): boolean {
  if (scopes === null) return false
  if (target.kind === 'fabric') return !SCOPED_OPERATIONS.has(target.operation)
  return !scopes.includes(target.name)
}

/**
 * The question as it stands now: about `principal` as the directory describes it at this moment.
 */
export function policyRequest(
  { caller, target, transport, signed }: Exchange<Authenticated>,
  { principal, resource }: Pick<PolicyRequest, 'principal' | 'resource'>,
  deps: Pick<AuthorizeDeps, 'now' | 'riskOf'>,
): PolicyRequest {
  const now = deps.now()
  return {
    principal,
    action: target.action,
    resource,
    context: {
      transport,
      protocol: target.protocol,
      operation: target.operation,
      tool: target.tool,
      method: caller.method,
      signed,
      risk: deps.riskOf(caller.principal, now),
      labels: target.labels,
      ...userOf(caller),
      time: Math.floor(now / 1000),
    },
  }
}

/** The member of the question that names the user; absent where the caller acts for itself. */
function userOf({ onBehalfOf }: Caller): Pick<PolicyRequest['context'], 'user'> {
  return onBehalfOf === undefined ? {} : { user: onBehalfOf.user }
}

function unknownReceiver(kind: Receiver['kind'], name: string): Receiver {
  return { kind, name, roles: [], segment: '', attributes: {} }
}

function denialDetail(decision: Decision): string {
  if (decision.policies.length > 0) return `forbidden by ${decision.policies.join(', ')}`
  if (decision.errors.length > 0) {
    return `undecidable: ${decision.errors.map((error) => error.policy).join(', ')} failed`
  }
  return 'no policy permits it'
}
