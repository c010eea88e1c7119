import {
  isPrincipalKey,
  isTrustDomain,
  type PrincipalKey,
  parsePrincipal,
} from '@countersign/protocol'
import type { News } from '../identity/newcomers.ts'
import { nameOfPrincipal } from '../identity/principals.ts'
import { Refusal, Withdrawal } from '../lib/refusal.ts'
import type { Decision, PolicyRequest } from '../policy/policy.ts'
import type { AuthorizeDeps } from './authorize.ts'
import type { StillPermitted } from './delivery.ts'
import type { ForwardedDecision } from './forwarded-decision.ts'
import { hasNewObligations, lostUser, opensTasks, principalOf, reasonOfStatus } from './recheck.ts'

type Room = Pick<
  AuthorizeDeps,
  'policy' | 'riskOf' | 'findReceiver' | 'findPrincipal' | 'now' | 'trustDomain'
>

export interface RecheckDeps {
  readonly authorization: Room
  readonly news: News
}

export interface ForwardedCall {
  /** `Countersign-From`, as the fabric sent it. */
  readonly from: string
  readonly receiver: string
  /** Null where the gateway sent none that can be read. */
  readonly decided: ForwardedDecision | null
  /**
   * The number of states of the fabric that this connector had received when the head of the call
   * arrived.
   */
  readonly changesAtReceipt: number
}

/** Deciding again would need a state of the fabric that this connector has not received yet. */
class Unheard {
  readonly detail: string

  constructor(detail: string) {
    this.detail = detail
  }
}

type Verdict = Withdrawal | Unheard | null

/** For who has to wait for news of the fabric longer than a request can. */
const retryAfterMs = 1000

/**
 * Decides again on a call that the gateway permitted. The gateway's decision is valid here in one
 * case alone: this connector has the very set of policies by which it was made, and has received
 * nothing since the call arrived. In every other case it asks its own set the same question. A call
 * that its set does not permit, or permits under further obligations, is withdrawn, unless the
 * gateway may know more: then the connector waits for news of the fabric within bounds, and refuses
 * as undecided a call that is still open after that.
 */
export async function recheckForwarded(
  deps: RecheckDeps,
  call: ForwardedCall,
): Promise<StillPermitted | Refusal> {
  const { decided } = call
  if (decided === null) {
    return new Refusal('UNDECIDED', 'the gateway did not send by what it decided')
  }
  const { from } = call
  if (!isPrincipalKey(from))
    return new Refusal('MESSAGE_MALFORMED', 'the caller is not a principal')
  const asked = { ...call, decided, from }
  const isHeard = (): boolean => !(verdictOn(deps, asked) instanceof Unheard)
  const waiting = deps.news.wait(from, isHeard)
  let verdict: Verdict
  if (waiting === null) {
    verdict = verdictOn(deps, asked)
  } else {
    await waiting
    // The news may be older than the gateway's state by now: they do not permit the call alone.
    const isFresh = isHeard() && (await deps.news.refresh())
    verdict = isFresh
      ? verdictOn(deps, asked)
      : new Unheard('news of the fabric did not come in time')
  }
  if (verdict instanceof Unheard) {
    return new Refusal('UNDECIDED', verdict.detail, retryAfterMs, { byOthers: true })
  }
  return verdict ?? (() => withdrawalOf(verdictOn(deps, asked)))
}

function withdrawalOf(verdict: Verdict): Withdrawal | null {
  return verdict instanceof Unheard ? new Withdrawal('undecided', verdict.detail) : verdict
}

interface Asked extends ForwardedCall {
  readonly decided: ForwardedDecision
  readonly from: PrincipalKey
}

function verdictOn(deps: RecheckDeps, call: Asked): Verdict {
  try {
    return decideAgain(deps, call)
  } catch (cause) {
    return new Withdrawal('undecided', `could not be re-checked: ${String(cause)}`)
  }
}

function decideAgain({ authorization, news }: RecheckDeps, call: Asked): Verdict {
  const { decided, changesAtReceipt, from, receiver } = call
  // Throws when the state is stale, also where nothing else would be asked.
  const set = authorization.policy()
  const known = knownCaller(authorization, call)
  if (known === null) return new Unheard(`${from} is unknown here`)
  if (known instanceof Withdrawal) return known
  const userLost = lostUser(decided.user, authorization)
  if (userLost !== null) return userLost
  const resource = authorization.findReceiver('agent', receiver)
  if (resource === null) return new Withdrawal('receiver-gone', 'the receiver is gone')
  const isSameSet = set.version === decided.policyVersion
  if (isSameSet && news.count() === changesAtReceipt) return null
  const now = authorization.now()
  const { protocol, operation, tool, method, signed } = decided
  const request: PolicyRequest = {
    ...{ principal: known.principal, action: 'call', resource },
    context: {
      ...{ transport: 'gateway', protocol, operation, tool, method, signed, labels: [] },
      ...(decided.user === '' ? {} : { user: decided.user }),
      risk: known.risk ?? authorization.riskOf(from, now),
      time: Math.floor(now / 1000),
    },
  }
  const lost =
    withdrawalBy(set.decide(request), decided) ??
    lostTasks(set, request, { ...decided, ...authorization })
  if (lost === null) return null
  const mayBeNewer = !isSameSet && !news.hasHad(decided.policyVersion)
  return mayBeNewer ? new Unheard(`not permitted by ${set.version}, which may be old`) : lost
}

interface KnownCaller {
  readonly principal: PolicyRequest['principal']
  /** Null for a caller that the state of the fabric describes. */
  readonly risk: number | null
}

/** Only of a principal of another issuer, the gateway's description counts: no directory has it. */
function knownCaller(
  authorization: Room,
  { from, decided: { vouched } }: Asked,
): KnownCaller | Withdrawal | null {
  const record = authorization.findPrincipal(from)
  if (record !== null) {
    const reason = reasonOfStatus[record.status]
    if (reason !== null) return new Withdrawal(reason, `${from} is ${record.status}`)
    return { principal: principalOf(record), risk: null }
  }
  const parsed = vouched === null ? null : parsePrincipal(from)
  if (vouched === null || parsed === null || isTrustDomain(parsed.issuer)) return null
  if (parsed.kind === 'fabric') return null
  const { risk, ...described } = vouched
  return { principal: { kind: parsed.kind, name: from, ...described }, risk }
}

/** The permit to call is not enough where the call is about tasks of others. */
function lostTasks(
  set: ReturnType<Room['policy']>,
  request: PolicyRequest,
  { taskOwners, signed, trustDomain }: ForwardedDecision & Pick<Room, 'trustDomain'>,
): Withdrawal | null {
  const mayReach = (owner: string): boolean => {
    const taskOwner = nameOfPrincipal(owner, trustDomain)
    const context = { ...request.context, taskOwner }
    return opensTasks(set.decide({ ...request, action: 'administer', context }), signed)
  }
  return taskOwners.every(mayReach)
    ? null
    : new Withdrawal('policy-denies', 'policy no longer permits tasks of others')
}

/** The gateway inspected the call under the obligations of its own decision. */
function withdrawalBy(
  { effect, obligations }: Decision,
  { obligations: before, signed }: ForwardedDecision,
): Withdrawal | null {
  if (effect !== 'permit') {
    return new Withdrawal('policy-denies', 'policy no longer permits this')
  }
  return hasNewObligations(obligations, { ...before, signed })
    ? new Withdrawal('policy-tightened', 'policy now requires more than it did')
    : null
}
