import { setTimeout } from 'node:timers/promises'
import {
  type ApprovalView,
  type DecidedApproval,
  type MeshApprovalAnswer,
  type MeshApprovalClaim,
  type Principal,
  parsePrincipal,
  principalKey,
} from '@countersign/protocol'
import type { AdminDeps } from '../admin/ports.ts'
import { type ApprovalRecord, principalText } from '../approvals/approval-record.ts'
import { approvalWebhook } from '../approvals/approval-webhook.ts'
import { Approvals } from '../approvals/approvals.ts'
import type { Caller } from '../identity/caller.ts'
import { findPrincipal } from '../identity/principals.ts'
import { Refusal } from '../lib/refusal.ts'
import { principalOfCaller, userOfCaller } from '../pipeline/approve.ts'
import { recordApproval } from './lifecycle.ts'
import type { Environment, Stores } from './stores.ts'

/** The approvals of a fabric: approvers are active in its directory, decisions are in its log. */
export function composeApprovals(
  environment: Environment,
  stores: Stores,
  closing: AbortSignal,
): Approvals {
  const { clock, random, config } = environment
  const { webhook, pendingMinutes } = config.approvals
  const notify =
    webhook === undefined ? null : composeWebhook(environment, stores, { url: webhook, closing })
  const { directory, trustDomain } = stores.identity
  return new Approvals({
    ...{ clock, random, pendingMs: pendingMinutes * 60_000 },
    ...(notify === null ? {} : { notify }),
    records: stores.records,
    history: () => stores.state.history,
    isActive(principal) {
      const key = principalKey(principal)
      const record = findPrincipal(directory, key, trustDomain)
      return record === null ? stores.identity.vouchesFor(key) : record.status === 'active'
    },
    record: recordApproval(environment, stores.feed),
  })
}

/** Notifications end with the fabric: those that wait for another attempt are given up. */
function composeWebhook(
  { clock, log }: Environment,
  { keys }: Pick<Stores, 'keys'>,
  { url, closing }: { readonly url: string; readonly closing: AbortSignal },
): (record: ApprovalRecord) => void {
  return approvalWebhook({
    ...{ url: new URL(url), signer: keys.fabric, clock, log },
    pause: (ms) => setTimeout(ms, undefined, { signal: closing, ref: false }),
    async post({ url: to, headers, body }) {
      const signal = AbortSignal.any([closing, AbortSignal.timeout(webhookTimeoutMs)])
      const content = new Blob([new Uint8Array(body)])
      const init = { method: 'POST', headers: headers.map(pair), body: content, signal } as const
      // The operator configured one address; no answer leads to another one.
      const response = await fetch(to, { ...init, redirect: 'error' })
      await response.body?.cancel()
      return response.status
    },
  })
}

const pair = ([name, value]: readonly [string, string]): [string, string] => [name, value]
/** Of one attempt. */
const webhookTimeoutMs = 10_000

/**
 * Claims an approval for a connector: of an action of an active caller, at the connector's own
 * agent. The digest and everything else of the claim are the connector's word. The receiver is not,
 * and the key of the request commits to it: a connector reaches no request at another receiver,
 * whatever digest it states.
 */
export function claimForConnector(
  { identity }: Pick<Stores, 'identity'>,
  approvals: Approvals,
): (claim: MeshApprovalClaim, connector: Caller) => Promise<MeshApprovalAnswer | Refusal> {
  return async (claim, connector) => {
    const caller = principalOf(identity, claim.caller)
    if (caller === null) {
      return new Refusal('NOT_PERMITTED', `${claim.caller} is not an active principal`)
    }
    const receiver = principalOfCaller(connector)
    const used = await approvals.claim({
      ...claim,
      caller,
      user: null,
      receiver,
      askedBy: receiver,
    })
    if (!(used instanceof Refusal)) return { state: 'used', id: used.id, approver: used.approver }
    if (used.approval === null) return used
    const { id, expiresAt } = used.approval
    return { state: used.code === 'APPROVAL_DENIED' ? 'denied' : 'pending', id, expiresAt }
  }
}

function principalOf(
  { directory, trustDomain }: Stores['identity'],
  text: string,
): Principal | null {
  const principal = parsePrincipal(text)
  if (principal === null) return null
  const record = findPrincipal(directory, principalKey(principal), trustDomain)
  return record?.status === 'active' ? principal : null
}

/** Adapts approvals to the port of administration. */
export function approvalAdmin(approvals: Approvals): AdminDeps['approvals'] {
  return {
    list: async () => (await approvals.list()).map(approvalView),
    async find(id) {
      const record = await approvals.find(id)
      return record === null ? null : approvalView(record)
    },
    async decide({ id, verdict, note, approver, exchange }): Promise<DecidedApproval | Refusal> {
      const decided = await approvals.decide(
        id,
        { caller: principalOfCaller(approver), user: userOfCaller(approver), exchange },
        { verdict, note },
      )
      if (decided instanceof Refusal) return decided
      return { approval: approvalView(decided.record), taken: decided.taken }
    },
  }
}

function approvalView({
  held: _,
  askedBy: __,
  approverUser: ___,
  history: ____,
  ...record
}: ApprovalRecord): ApprovalView {
  const { caller, user, receiver, approver, ...rest } = record
  return {
    ...rest,
    caller: principalText(caller),
    user: user === null ? null : principalText(user),
    receiver: principalText(receiver),
    approver: approver === null ? null : principalText(approver),
  }
}
