import type { PrincipalKey, WithdrawalReason } from '@countersign/protocol'
import type { Caller } from '../identity/caller.ts'
import { withRecord } from '../identity/claims.ts'
import type { AgentRecord, AgentStatus } from '../identity/directory.ts'
import { nameOfPrincipal } from '../identity/principals.ts'
import { isOutlived } from '../identity/status.ts'
import { Withdrawal } from '../lib/refusal.ts'
import type { Decision, Obligations, PolicyRequest } from '../policy/policy.ts'
import type { Authenticated } from './authenticate.ts'
import { type AuthorizeDeps, type Authorized, policyRequest, sealedMayPass } from './authorize.ts'
import type { Exchange } from './exchange.ts'

/** The type check fails if a status is added without the reason that its bearer receives. */
export const reasonOfStatus = {
  active: null,
  quarantined: 'caller-quarantined',
  revoked: 'caller-revoked',
} as const satisfies Record<AgentStatus, WithdrawalReason | null>

/**
 * Asks the question of the first decision again, at this moment. Called after every wait and before
 * every delivery; a check that cannot be made is a right that is lost. Obligations must not have
 * grown either, because what has already passed was inspected under the earlier ones.
 */
export function recheck(exchange: Exchange<Authorized>, deps: AuthorizeDeps): Withdrawal | null {
  const lost = recheckCall(exchange, deps)
  if (lost !== null || mayReachTasks(exchange, deps)) return lost
  return new Withdrawal('policy-denies', 'policy no longer permits tasks of others')
}

/** The part of `recheck` that a permit to call answers, whatever the call is about. */
export function recheckCall(
  exchange: Exchange<Authorized>,
  deps: AuthorizeDeps,
): Withdrawal | null {
  try {
    const decision = decideAgain(exchange, deps, null)
    if (decision instanceof Withdrawal) return decision
    const others = exchange.target.otherLabels ?? []
    if (!others.every((labels) => mayPass(exchange, labels, deps))) {
      return new Withdrawal('policy-denies', 'policy no longer permits a message of this request')
    }
    const { signed } = exchange
    return hasNewObligations(decision.obligations, { ...exchange.decision.obligations, signed })
      ? new Withdrawal('policy-tightened', 'policy now requires more than it did')
      : null
  } catch (cause) {
    return new Withdrawal('undecided', `could not be re-checked: ${String(cause)}`)
  }
}

/**
 * Reports whether one message of a channel may be handed to this receiver now. The lease was
 * decided before its messages were known; this decision sees the labels of the message.
 */
export function mayReceive(
  exchange: Exchange<Authorized>,
  labels: readonly string[],
  deps: AuthorizeDeps,
): boolean {
  try {
    return mayPass(exchange, labels, deps)
  } catch {
    return false
  }
}

function mayPass(
  exchange: Exchange<Authorized>,
  labels: readonly string[],
  deps: AuthorizeDeps,
): boolean {
  const decision = decideAgain(exchange, deps, labels)
  if (decision instanceof Withdrawal) return false
  return sealedMayPass(decision, labels, exchange.signed)
}

/**
 * Reports whether policy permits this caller to reach every task of others that the exchange
 * touches.
 */
export function mayReachTasks(exchange: Exchange<Authorized>, deps: AuthorizeDeps): boolean {
  const { caller, target } = exchange
  const { foreignOwners } = target
  if (foreignOwners === undefined) return true
  for (const owner of foreignOwners.of(caller.principal)) {
    if (!mayReachTask(exchange, owner, deps)) return false
  }
  return true
}

/**
 * Reports whether policy permits this caller to reach tasks of `owner` at the receiver: the caller
 * must be permitted to `administer` the receiver, in a question that names the owner. A
 * permit to `call` is not enough.
 */
export function mayReachTask(
  exchange: Exchange<Authorized>,
  owner: string,
  deps: AuthorizeDeps,
): boolean {
  const { caller, target } = exchange
  try {
    const principal = presentPrincipal(caller, deps.findPrincipal(caller.principal))
    const resource = deps.findReceiver(target.kind, target.name)
    if (principal === null || resource === null) return false
    const asked = policyRequest(exchange, { principal, resource }, deps)
    const taskOwner = nameOfPrincipal(owner, deps.trustDomain)
    const context = { ...asked.context, taskOwner }
    const decision = deps.policy().decide({ ...asked, action: 'administer', context })
    return opensTasks(decision, exchange.signed)
  } catch {
    return false
  }
}

/**
 * Reports whether a decision on `administer` gives its caller access to the tasks of the owner that
 * it names.
 */
export function opensTasks({ effect, obligations }: Decision, signed: boolean): boolean {
  if (effect !== 'permit' || obligations.approval !== null) return false
  return signed || !obligations.signedRequest
}

function decideAgain(
  exchange: Exchange<Authorized>,
  deps: AuthorizeDeps,
  labels: readonly string[] | null,
): Decision | Withdrawal {
  const { caller, target } = exchange
  // A quarantine could not be recorded either: the exchange would continue without a record, and
  // the operator could not stop it.
  if (deps.canRecord?.() === false) {
    return new Withdrawal('undecided', 'the ledger cannot record its end')
  }
  if (deps.now() >= endOf(exchange, deps)) {
    return new Withdrawal('credential-expired', 'the credential has expired')
  }
  const record = deps.findPrincipal(caller.principal)
  const principal = presentPrincipal(caller, record)
  if (principal === null) return new Withdrawal('caller-unknown', `${caller.name} is unknown`)
  const reason = reasonOfStatus[record?.status ?? 'active']
  if (reason !== null) return new Withdrawal(reason, `${caller.name} is ${record?.status}`)
  if (
    (record !== null && isOutlived(record, caller)) ||
    deps.credentialStands?.(caller) === false
  ) {
    const detail = `the ${caller.method} ${caller.credentialId} was taken back`
    return new Withdrawal('credential-revoked', detail)
  }
  const userLost = lostUser(caller.onBehalfOf?.user ?? '', deps)
  if (userLost !== null) return userLost
  const resource = deps.findReceiver(target.kind, target.name)
  if (resource === null) return new Withdrawal('receiver-gone', 'the receiver is gone')
  const asked = policyRequest(exchange, { principal, resource }, deps)
  const request = labels === null ? asked : { ...asked, context: { ...asked.context, labels } }
  const decision = deps.policy().decide(request)
  return decision.effect === 'permit'
    ? decision
    : new Withdrawal('policy-denies', 'policy no longer permits this')
}

/** Returns why the user on whose behalf a caller acts may not act any more; null if it may. */
export function lostUser(
  user: PrincipalKey | '',
  deps: Pick<AuthorizeDeps, 'findPrincipal'>,
): Withdrawal | null {
  const status = user === '' ? 'active' : (deps.findPrincipal(user)?.status ?? 'active')
  const reason = reasonOfStatus[status]
  return reason === null ? null : new Withdrawal(reason, `its user ${user} is ${status}`)
}

/**
 * Unix milliseconds until which the caller's proof, or what it was renewed to, is good, and the
 * proof of the user on whose behalf it acts, which nothing renews.
 */
export function endOf(
  { caller }: Exchange<Authenticated>,
  deps: Pick<AuthorizeDeps, 'continuesUntil'>,
): number {
  const own = Math.max(caller.expiresAt, deps.continuesUntil?.(caller) ?? 0)
  return Math.min(own, caller.onBehalfOf?.expiresAt ?? own)
}

/**
 * The ways in which a caller can have proved itself, where a decision is made without knowing it.
 */
export const proofs = (['certificate', 'token', 'api-key'] as const).flatMap((method) =>
  [true, false].map((signed) => ({ method, signed })),
)

/**
 * Roles and attributes as they are now: they may have been taken since the caller was identified.
 */
export function principalOf(record: AgentRecord): PolicyRequest['principal'] {
  const { kind, name, roles, segment, attributes } = record
  return { kind, name, roles, segment, attributes }
}

/** The caller as it is now; null without a record, unless its issuer vouches for it. */
function presentPrincipal(
  { kind, name, claimed }: Caller,
  record: AgentRecord | null,
): PolicyRequest['principal'] | null {
  if (claimed === undefined) return record && principalOf(record)
  return { kind, name, ...withRecord(claimed, record) }
}

/** Reports whether a permit requires more than was met under an earlier one. */
export function hasNewObligations(
  obligations: Obligations,
  met: Pick<Obligations, 'mask' | 'block' | 'signedResponse' | 'approval'> & {
    readonly signed: boolean
  },
): boolean {
  return (
    obligations.mask.some((name) => !met.mask.includes(name)) ||
    obligations.block.some((name) => !met.block.includes(name)) ||
    // The approval that began the exchange holds until its end, and answers no other reason.
    (obligations.approval !== null && obligations.approval !== met.approval) ||
    (obligations.signedRequest && !met.signed) ||
    (obligations.signedResponse && !met.signedResponse)
  )
}
