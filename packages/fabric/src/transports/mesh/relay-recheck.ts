import { parseSpiffeId } from '@countersign/protocol'
import type { AgentRecord } from '../../identity/directory.ts'
import { Withdrawal } from '../../lib/refusal.ts'
import type { AuthorizeRoom } from '../../pipeline/authorize.ts'
import type { StillPermitted } from '../../pipeline/delivery.ts'
import { principalOf, proofs, reasonOfStatus } from '../../pipeline/recheck.ts'
import type { Decision, PolicyRequest, PolicySet } from '../../policy/policy.ts'
import type { Classified } from '../http/classify.ts'

type Room = Pick<AuthorizeRoom, 'policy' | 'riskOf' | 'findReceiver' | 'findPrincipal' | 'now'>

export interface ForwardedCall {
  /** `Countersign-From`, as the fabric signed it. */
  readonly from: string
  readonly receiver: string
  /** Null where the gateway read the call in another way than this connector would. */
  readonly classified: Pick<Classified, 'protocol' | 'operation' | 'tool'> | null
}

/**
 * Decides again on a call that the gateway permitted, before it leaves for the agent: it may wait for a
 * connection much longer than that decision is good for. A connector does not know how the caller proved
 * itself, so a policy counts as withdrawn where no caller that it permitted when the call arrived
 * is permitted now, under the same obligations. While the state is the same, nothing is decided.
 */
export function recheckForwarded(room: Room, call: ForwardedCall): StillPermitted {
  const name = parseSpiffeId(call.from)?.name ?? ''
  let before: Standing | Withdrawal
  try {
    before = standingOf(room, name)
  } catch (cause) {
    before = undecided(cause)
  }
  return () => {
    if (before instanceof Withdrawal) return before
    try {
      const now = standingOf(room, name)
      if (now.principal === before.principal && now.policy === before.policy) {
        return statusFault(room, call, now)
      }
      return statusFault(room, call, now) ?? policyFault(room, call, { before, now })
    } catch (cause) {
      return undecided(cause)
    }
  }
}

/** What a decision rests on. The state of the fabric replaces records and policies as a whole. */
interface Standing {
  readonly principal: AgentRecord | null
  readonly policy: PolicySet
  readonly risk: number
}

function standingOf(room: Room, name: string): Standing {
  const principal = room.findPrincipal(name)
  return { principal, policy: room.policy(), risk: room.riskOf(name, room.now()) }
}

function undecided(cause: unknown): Withdrawal {
  return new Withdrawal('undecided', `could not be re-checked: ${String(cause)}`)
}

function statusFault(room: Room, call: ForwardedCall, { principal }: Standing): Withdrawal | null {
  if (principal === null) return new Withdrawal('caller-unknown', `${call.from} is unknown`)
  const reason = reasonOfStatus[principal.status]
  if (reason !== null) return new Withdrawal(reason, `${principal.name} is ${principal.status}`)
  return room.findReceiver('agent', call.receiver) === null
    ? new Withdrawal('receiver-gone', 'the receiver is gone')
    : null
}

function policyFault(
  room: Room,
  { receiver, classified }: ForwardedCall,
  { before, now }: { readonly before: Standing; readonly now: Standing },
): Withdrawal | null {
  const resource = room.findReceiver('agent', receiver)
  if (classified === null || resource === null) return null
  const decide = ({ principal, policy, risk }: Standing, proof: (typeof proofs)[number]) => {
    if (principal === null) return null
    const { protocol, operation, tool } = classified
    const request: PolicyRequest = {
      principal: principalOf(principal),
      action: 'call',
      resource,
      context: {
        ...{ transport: 'gateway', protocol, operation, tool, ...proof, risk, labels: [] },
        time: Math.floor(room.now() / 1000),
      },
    }
    const decision = policy.decide(request)
    return decision.effect === 'permit' ? decision : null
  }
  let permitted = 0
  for (const proof of proofs) {
    const then = decide(before, proof)
    if (then === null) continue
    permitted += 1
    const still = decide(now, proof)
    if (still !== null && !hasGrown(then, still)) return null
  }
  return permitted === 0 ? null : new Withdrawal('policy-denies', 'policy no longer permits this')
}

/** The gateway inspected the call under the earlier obligations. */
function hasGrown({ obligations: before }: Decision, { obligations: now }: Decision): boolean {
  return (
    now.mask.some((name) => !before.mask.includes(name)) ||
    now.block.some((name) => !before.block.includes(name)) ||
    (now.approval !== null && before.approval === null) ||
    (now.signedRequest && !before.signedRequest) ||
    (now.signedResponse && !before.signedResponse)
  )
}
