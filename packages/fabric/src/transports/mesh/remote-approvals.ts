import {
  type MeshApprovalAnswer,
  type MeshApprovalClaim,
  parseLimit,
  parseMeshApprovalAnswer,
  parseUtf8,
  utf8,
} from '@countersign/protocol'
import type { ApprovalRequest, UsedApproval } from '../../approvals/approvals.ts'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import { type ApprovalGate, approvalRefusal, principalText } from '../../pipeline/approve.ts'
import type { ConnectorAgent } from './connector-agent.ts'

/** The fabric writes to its disk before it answers. */
const timeoutMs = 10_000

/**
 * The approvals of the fabric, as a connector uses them. If the answer is lost, the exchange is
 * refused, and an approval that it may have used is gone.
 */
export function remoteApprovals(agent: Pick<ConnectorAgent, 'request'>): ApprovalGate {
  return {
    async claim(request) {
      const { status, body } = await agent.request({
        method: 'POST',
        path: '/v1/mesh/approvals',
        body: utf8(JSON.stringify(claimOf(request))),
        signal: AbortSignal.timeout(timeoutMs),
      })
      const value: unknown = JSON.parse(parseUtf8(body))
      if (status === 200) return claimed(request, parseMeshApprovalAnswer(value))
      const limit = limitIn(value)
      if (limit !== null) return overLimit('OVERLOADED', limit, `the fabric answered ${status}`)
      throw new Error(`the fabric answered ${status}`)
    },
  }
}

function claimOf(request: ApprovalRequest): MeshApprovalClaim {
  const { exchange, digest, caller, protocol, operation, tool, parameters, reason } = request
  return {
    ...{ exchange, digest, protocol, operation, tool, parameters, reason },
    caller: principalText(caller),
  }
}

function claimed({ digest }: ApprovalRequest, answer: MeshApprovalAnswer): UsedApproval | Refusal {
  if (answer.state === 'used') return { id: answer.id, approver: answer.approver, digest }
  const { id, expiresAt } = answer
  return approvalRefusal(answer.state, { id, digest, expiresAt })
}

function limitIn(value: unknown) {
  if (typeof value !== 'object' || value === null || !('limit' in value)) return null
  return typeof value.limit === 'string' ? parseLimit(value.limit) : null
}
