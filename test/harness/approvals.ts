import type { ApprovalView, DecidedApproval } from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { expect } from 'vitest'
import { newName } from './attack.ts'
import { type Door, type Draft, refusalOf, send } from './doors.ts'
import type { Heard } from './raw-http.ts'
import { approvalOf } from './refusals.ts'
import type { World } from './world.ts'

/** Agents with the role `gated` may call, and a person has to approve each call. */
const policies = `
@id("gated")
@approval("moves money")
permit(principal in Role::"gated", action == Action::"call", resource in Role::"open");

@id("approvers")
permit(principal in Role::"approver", action == Action::"administer", resource is Fabric)
when { context.operation == "approval.approve" || context.operation == "approval.deny" };
`

const prepared = new WeakMap<World, Promise<void>>()

/** A new caller whose calls need an approval. */
export async function gatedCaller(world: World, roles: readonly string[] = []): Promise<Identity> {
  const ready = prepared.get(world) ?? preparePolicies(world)
  prepared.set(world, ready)
  await ready
  return world.agent(newName('gated'), ['gated', ...roles])
}

async function preparePolicies(world: World): Promise<void> {
  const put = await world.admin('policy.put', { name: 'approvals.cedar', text: policies })
  expect(put).toMatchObject({ taken: true })
}

/** A JSON-RPC call that differs between attempts as it does with any client. */
export function payment(amount: number, attempt = 1): string {
  const call = { jsonrpc: '2.0', id: attempt, method: 'tools/call' }
  const params = { name: 'pay', arguments: { amount }, _meta: { progressToken: attempt } }
  return JSON.stringify({ ...call, params })
}

/** Sends a call that was not approved; returns the id of the approval that it waits for. */
export async function pendingId(world: World, door: Door, draft: Draft): Promise<string> {
  const before = world.echo.reached.length
  // A connector receives the policies of the world a moment after the gateway.
  const heard = await untilDecided(() => send(door, draft))
  expect(refusalOf(heard)).toBe('APPROVAL_PENDING')
  expect(world.echo.reached.length).toBe(before)
  return approvalOf(heard)
}

async function untilDecided(ask: () => Promise<Heard>): Promise<Heard> {
  let heard = await ask()
  await expect
    .poll(async () => {
      heard = await ask()
      return refusalOf(heard)
    })
    .not.toMatch(/^(?:NOT_PERMITTED|UNDECIDED|CREDENTIAL_REJECTED)$/)
  return heard
}

export async function decide(
  world: World,
  operation: 'approve' | 'deny',
  id: string,
): Promise<ApprovalView> {
  const order = { id, reason: 'as agreed' }
  const decided = (await world.admin(`approval.${operation}`, order)) as DecidedApproval
  expect(decided.taken).toBe(true)
  return decided.approval
}

/** As another principal than the operator. */
export function decideAs(
  world: World,
  who: Identity,
  { id, operation = 'approve' }: { readonly id: string; readonly operation?: 'approve' | 'deny' },
): Promise<Heard> {
  const args = { id, reason: 'as agreed' }
  const body = JSON.stringify({ operation: `approval.${operation}`, args })
  return send(world.control, { path: '/v1/admin', body, as: who.credential() })
}

export const show = (world: World, id: string): Promise<ApprovalView> =>
  world.admin('approval.show', { id }) as Promise<ApprovalView>
