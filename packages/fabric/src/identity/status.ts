import { parseSpiffeId } from '@countersign/protocol'
import type { PeerIdentity } from '@countersign/protocol/tls'
import { Refusal } from '../lib/refusal.ts'
import type { Attributes, Caller } from './caller.ts'
import type { AgentRecord, AgentStatus, Directory } from './directory.ts'
import { generationOf } from './enrolment-generation.ts'

/** A status added without deciding which refusal its bearer receives does not compile. */
const refusalOfStatus = {
  active: null,
  quarantined: 'AGENT_QUARANTINED',
  revoked: 'AGENT_REVOKED',
} as const satisfies Record<AgentStatus, string | null>

/** Returns why this principal may not act at present, whatever it holds; null when it may. */
export function checkStatus(record: AgentRecord): Refusal | null {
  const code = refusalOfStatus[record.status]
  return code === null ? null : new Refusal(code, `${record.name}: ${record.statusReason}`)
}

/** The proof of one request: the part that a credential adds to the record of its holder. */
export type Proof = Pick<
  Caller,
  'principal' | 'method' | 'credentialId' | 'scopes' | 'expiresAt' | 'generation'
>

/** Reports whether the agent enrolled again since: a stolen key must not outlive that. */
export function isOutlived(
  record: AgentRecord,
  { generation }: Pick<Caller, 'generation'>,
): boolean {
  return generation !== undefined && generation < record.generation
}

/** The caller that `proof` shows, or why its holder may not act. */
export function callerOf(record: AgentRecord | null, proof: Proof): Caller | Refusal {
  if (record === null) {
    return new Refusal('CREDENTIAL_REJECTED', `${proof.principal} is not in the directory`)
  }
  const refusal = checkStatus(record)
  if (refusal !== null) {
    // Named, so that the ledger shows who keeps trying.
    return new Refusal(refusal.code, refusal.detail, null, { caller: proof.principal })
  }
  if (isOutlived(record, proof)) {
    const detail = `the ${proof.method} is of an earlier enrolment of ${record.name}`
    return new Refusal('CREDENTIAL_REJECTED', detail, null, { caller: proof.principal })
  }
  const { name, kind, roles, segment } = record
  const attributes: Attributes = record.attributes
  return { ...proof, kind, name, roles, segment, attributes }
}

interface Enrolled {
  /** Null for a fabric, which does not enrol. */
  readonly name: string | null
  readonly generation: number
}

/** By the peer of a connection, of which every request asks. */
const enrolledPeers = new WeakMap<PeerIdentity, Enrolled>()

/**
 * Reports whether a peer's certificate is of its agent's present enrolment; fabrics do not enrol.
 */
export function isCurrent(directory: Pick<Directory, 'find'>, peer: PeerIdentity): boolean {
  const { name, generation } = enrolledPeers.get(peer) ?? rememberPeer(peer)
  const record = name === null ? null : directory.find(name)
  return record === null || !isOutlived(record, { generation })
}

function rememberPeer(peer: PeerIdentity): Enrolled {
  const id = parseSpiffeId(peer.spiffeId)
  const name = id === null || id.kind === 'fabric' ? null : id.name
  const enrolled = { name, generation: generationOf(peer.serialNumber) }
  enrolledPeers.set(peer, enrolled)
  return enrolled
}
