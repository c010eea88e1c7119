import { Refusal } from '../lib/refusal.ts'
import type { Attributes, Caller } from './caller.ts'
import type { AgentRecord, AgentStatus } from './directory.ts'

/** A status added without deciding what its bearer hears does not compile. */
const refusalOfStatus = {
  active: null,
  quarantined: 'AGENT_QUARANTINED',
  revoked: 'AGENT_REVOKED',
} as const satisfies Record<AgentStatus, string | null>

/** Why this principal may not act at present, whatever it holds; null when it may. */
export function checkStanding(record: AgentRecord): Refusal | null {
  const code = refusalOfStatus[record.status]
  return code === null ? null : new Refusal(code, `${record.name}: ${record.statusReason}`)
}

/** How one request was proved: what a credential adds to the record of its holder. */
export type Proof = Pick<Caller, 'spiffeId' | 'method' | 'credentialId' | 'scopes' | 'expiresAt'>

/** The caller that `proof` shows, or why its holder may not act. */
export function callerOf(record: AgentRecord | null, proof: Proof): Caller | Refusal {
  if (record === null) {
    return new Refusal('CREDENTIAL_REJECTED', `${proof.spiffeId} is not in the directory`)
  }
  const refusal = checkStanding(record)
  if (refusal !== null) {
    // Named, so that the ledger shows who keeps trying.
    return new Refusal(refusal.code, refusal.detail, null, { caller: proof.spiffeId })
  }
  const { name, kind, roles, segment } = record
  const attributes: Attributes = record.attributes
  return { ...proof, kind, name, roles, segment, attributes }
}
