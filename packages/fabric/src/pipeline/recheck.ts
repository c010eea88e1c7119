import type { WithdrawalReason } from '@countersign/protocol'
import type { AgentRecord, AgentStatus } from '../identity/directory.ts'
import { isOutlived } from '../identity/status.ts'
import { Withdrawal } from '../lib/refusal.ts'
import type { Decision, Obligations, PolicyRequest } from '../policy/policy.ts'
import { type AuthorizeDeps, type Authorized, policyRequest, sealedMayPass } from './authorize.ts'

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
export function recheck(authorized: Authorized, deps: AuthorizeDeps): Withdrawal | null {
  const lost = recheckCall(authorized, deps)
  if (lost !== null || mayReachTasks(authorized, deps)) return lost
  return new Withdrawal('policy-denies', 'policy no longer permits tasks of others')
}

/** The part of `recheck` that a permit to call answers, whatever the call is about. */
export function recheckCall(authorized: Authorized, deps: AuthorizeDeps): Withdrawal | null {
  try {
    const decision = decideAgain(authorized, deps, null)
    if (decision instanceof Withdrawal) return decision
    const others = authorized.authenticated.unchecked.target.otherLabels ?? []
    if (!others.every((labels) => mayPass(authorized, labels, deps))) {
      return new Withdrawal('policy-denies', 'policy no longer permits a message of this request')
    }
    const { signed } = authorized.authenticated
    return hasNewObligations(decision.obligations, { ...authorized.decision.obligations, signed })
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
  authorized: Authorized,
  labels: readonly string[],
  deps: AuthorizeDeps,
): boolean {
  try {
    return mayPass(authorized, labels, deps)
  } catch {
    return false
  }
}

function mayPass(authorized: Authorized, labels: readonly string[], deps: AuthorizeDeps): boolean {
  const decision = decideAgain(authorized, deps, labels)
  if (decision instanceof Withdrawal) return false
  return sealedMayPass(decision, labels, authorized.authenticated.signed)
}

/**
 * Reports whether policy permits this caller to reach every task of others that the exchange
 * touches.
 */
export function mayReachTasks(authorized: Authorized, deps: AuthorizeDeps): boolean {
  const { caller, unchecked } = authorized.authenticated
  const { foreignOwners } = unchecked.target
  if (foreignOwners === undefined) return true
  for (const owner of foreignOwners.of(caller.name)) {
    if (!mayReachTask(authorized, owner, deps)) return false
  }
  return true
}

/**
 * Reports whether policy permits this caller to reach tasks of `taskOwner` at the receiver: the
 * caller must be permitted to `administer` the receiver, in a question that names the owner. A
 * permit to `call` is not enough.
 */
export function mayReachTask(
  { authenticated }: Authorized,
  taskOwner: string,
  deps: AuthorizeDeps,
): boolean {
  const { caller, unchecked } = authenticated
  try {
    const principal = deps.findPrincipal(caller.name)
    const resource = deps.findReceiver(unchecked.target.kind, unchecked.target.name)
    if (principal === null || resource === null) return false
    const asked = policyRequest(
      authenticated,
      { principal: principalOf(principal), resource },
      deps,
    )
    const context = { ...asked.context, taskOwner }
    const decision = deps.policy().decide({ ...asked, action: 'administer', context })
    return opensTasks(decision, authenticated.signed)
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
  { authenticated }: Authorized,
  deps: AuthorizeDeps,
  labels: readonly string[] | null,
): Decision | Withdrawal {
  const { caller, unchecked } = authenticated
  const { target } = unchecked
  // A quarantine could not be recorded either: the exchange would continue without a record, and
  // the operator could not stop it.
  if (deps.canRecord?.() === false) {
    return new Withdrawal('undecided', 'nothing can be recorded: the disk of the ledger is full')
  }
  if (deps.now() >= endOf(authenticated, deps)) {
    return new Withdrawal('credential-expired', 'the credential has expired')
  }
  const record = deps.findPrincipal(caller.name)
  if (record === null) return new Withdrawal('caller-unknown', `${caller.name} is unknown`)
  const reason = reasonOfStatus[record.status]
  if (reason !== null) return new Withdrawal(reason, `${caller.name} is ${record.status}`)
  if (isOutlived(record, caller) || deps.credentialStands?.(caller) === false) {
    const detail = `the ${caller.method} ${caller.credentialId} was taken back`
    return new Withdrawal('credential-revoked', detail)
  }
  const resource = deps.findReceiver(target.kind, target.name)
  if (resource === null) return new Withdrawal('receiver-gone', 'the receiver is gone')
  const asked = policyRequest(authenticated, { principal: principalOf(record), resource }, deps)
  const request = labels === null ? asked : { ...asked, context: { ...asked.context, labels } }
  const decision = deps.policy().decide(request)
  return decision.effect === 'permit'
    ? decision
    : new Withdrawal('policy-denies', 'policy no longer permits this')
}

/** Unix milliseconds until which the caller's proof, or what it was renewed to, is good. */
export function endOf(
  { caller }: Authorized['authenticated'],
  deps: Pick<AuthorizeDeps, 'continuesUntil'>,
): number {
  return Math.max(caller.expiresAt, deps.continuesUntil?.(caller) ?? 0)
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

/** Reports whether a permit requires more than was met under an earlier one. */
export function hasNewObligations(
  obligations: Obligations,
  met: Pick<Obligations, 'mask' | 'block' | 'signedResponse'> & { readonly signed: boolean },
): boolean {
  return (
    obligations.mask.some((name) => !met.mask.includes(name)) ||
    obligations.block.some((name) => !met.block.includes(name)) ||
    obligations.approval !== null ||
    (obligations.signedRequest && !met.signed) ||
    (obligations.signedResponse && !met.signedResponse)
  )
}
