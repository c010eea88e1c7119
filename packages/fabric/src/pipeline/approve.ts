import {
  MalformedError,
  type Principal,
  type PrincipalKey,
  parsePrincipal,
} from '@countersign/protocol'
import { ACTION_JSON_BYTES_MAX, ActionTooLarge } from '../approvals/action-content.ts'
import { type Action, actionDigestText } from '../approvals/action-digest.ts'
import { parameterNames } from '../approvals/action-summary.ts'
import { principalText } from '../approvals/approval-record.ts'
import { approvalRefusal } from '../approvals/approval-refusal.ts'
import type { ApprovalRequest, UsedApproval } from '../approvals/approvals.ts'
import type { Caller } from '../identity/caller.ts'
import { overLimit } from '../lib/limits.ts'
import { type Maybe, Refusal } from '../lib/refusal.ts'
import { PolicyRefusal } from './authorize.ts'
import { type Exchange, extend } from './exchange.ts'
import type { Inspected } from './inspect.ts'
import type { Target } from './unchecked-request.ts'

export { approvalRefusal, principalText }

/** The approvals that the stage asks for. */
export interface ApproveDeps {
  /** Absent where no approval can be asked for: what needs one is refused. */
  readonly approvals?: ApprovalGate
  /** That of the receivers. */
  readonly trustDomain: string
}

export interface ApprovalGate {
  /**
   * Uses the approval of exactly this action, or refuses. At most one of any number of calls uses
   * it, whatever crashes in between.
   */
  claim(request: ApprovalRequest): Promise<UsedApproval | Refusal>
}

const approved: unique symbol = Symbol('approved')

/** Made in this file only. */
interface Approval {
  readonly [approved]: true
  /** Used up by this exchange; null if policy requires none. */
  readonly approval: UsedApproval | null
}

/** Known once the action has the approval that policy requires of it. */
export type Approved = Inspected & Approval

/**
 * Holds the request to the approval that policy requires. The last stage before the intent, because
 * an approval that is used is gone, whatever the next stage refuses.
 */
export function approve(
  exchange: Exchange<Inspected>,
  deps: ApproveDeps,
): Maybe<Exchange<Approved>> {
  const reason = exchange.decision.obligations.approval
  return reason === null
    ? extend(exchange, { [approved]: true as const, approval: null })
    : approveFor(reason, exchange, deps)
}

async function approveFor(
  reason: string,
  exchange: Exchange<Inspected>,
  deps: ApproveDeps,
): Promise<Exchange<Approved> | Refusal> {
  const { approvals } = deps
  const approval =
    approvals === undefined || exchange.upload !== null || !canWait(exchange.target)
      ? new Refusal('APPROVAL_REQUIRED', reason)
      : await claim(exchange, reason, { approvals, trustDomain: deps.trustDomain })
  return approval instanceof Refusal
    ? PolicyRefusal.of(exchange, approval)
    : extend(exchange, { [approved]: true as const, approval })
}

/**
 * Reports whether a request may wait for an approval. A sealed message shows nothing to decide by,
 * and a lease hands out messages that are not known yet. A decision on an approval that waited for
 * another one would never come. Nor may a streamed request, of which only the first frame is known.
 */
function canWait({ protocol, operation }: Target): boolean {
  return protocol !== 'queue' && !operation.startsWith('approval.')
}

async function claim(
  exchange: Exchange<Inspected>,
  reason: string,
  { approvals, trustDomain }: { readonly approvals: ApprovalGate; readonly trustDomain: string },
): Promise<UsedApproval | Refusal> {
  const action = actionOf(exchange, trustDomain)
  const { caller, user, receiver, protocol, operation, tool } = action
  const digest = digestOf(action)
  if (digest instanceof Refusal) return digest
  const parameters = parameterNames(action)
  const about = { caller, user, receiver, protocol, operation, tool, parameters }
  return approvals.claim({ ...about, digest, reason, askedBy: caller, exchange: exchange.id })
}

function digestOf(action: Action): string | Refusal {
  try {
    return actionDigestText(action)
  } catch (cause) {
    if (cause instanceof ActionTooLarge) return overLimit('MESSAGE_TOO_LARGE', actionLimit)
    // Masking does not make it so: readers differ over JSON that the transport did not parse.
    if (cause instanceof MalformedError) return new Refusal('MESSAGE_MALFORMED', String(cause))
    throw cause
  }
}

const actionLimit = {
  name: 'approvals.actionBytes',
  value: ACTION_JSON_BYTES_MAX,
  unit: 'bytes',
} as const

/** The action that would be forwarded: the body and the fields as inspection leaves them. */
function actionOf(
  { caller, target, received, forwardable }: Exchange<Inspected>,
  trustDomain: string,
): Action {
  // Messages of channels do not wait, so that a receiver is an agent or the fabric.
  const kind = target.kind === 'agent' ? 'agent' : 'fabric'
  return {
    caller: principalOfCaller(caller),
    user: userOfCaller(caller),
    receiver: { kind, issuer: trustDomain, subject: target.name },
    action: target.action,
    protocol: target.protocol,
    operation: target.operation,
    tool: target.tool,
    method: received.method,
    path: received.path,
    headers: forwardable.headers,
    contentType: received.contentType,
    body: forwardable.body,
  }
}

export function principalOfCaller({ principal }: Pick<Caller, 'principal'>): Principal {
  return principalOfKey(principal)
}

/** Returns the principal on whose behalf a caller acts; null where it acts for itself. */
export function userOfCaller({ onBehalfOf }: Pick<Caller, 'onBehalfOf'>): Principal | null {
  return onBehalfOf === undefined ? null : principalOfKey(onBehalfOf.user)
}

function principalOfKey(key: PrincipalKey): Principal {
  const parsed = parsePrincipal(key)
  if (parsed === null) throw new TypeError('a caller has no canonical form')
  return parsed
}
