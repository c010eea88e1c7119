import { type Principal, type PrincipalKey, principalKey } from '@countersign/protocol'

/** The states that are stored; a record that has reached its end is absent or `expired`. */
export type StoredState = 'pending' | 'approved' | 'denied' | 'consumed'

/** A request for the approval of one action, with everything that a person decides by. */
export interface ApprovalRecord {
  /** `apr_` and a UUIDv7. */
  readonly id: string
  /** The digest of the action, in hex. */
  readonly digest: string
  readonly caller: Principal
  readonly user: Principal | null
  readonly receiver: Principal
  readonly protocol: string
  readonly operation: string
  readonly tool: string
  /** The names of the parameters, without their values. */
  readonly parameters: readonly string[]
  /** The text of the policy that requires the approval. */
  readonly reason: string
  /** The refused exchange that asked for it. */
  readonly requestedBy: string
  readonly requestedAt: number
  readonly expiresAt: number
  readonly state: StoredState
  readonly approver: Principal | null
  readonly decidedAt: number | null
  /** The approver's own reason. */
  readonly note: string
  /** The exchange that used it. */
  readonly consumedBy: string | null
}

/** The decision of a person. */
export interface ApprovalDecision {
  readonly approver: Principal
  readonly verdict: 'approved' | 'denied'
  readonly note: string
  readonly at: number
}

/** Of an approved action, from the decision on; it outlives the request if that ends sooner. */
export const APPROVED_MS = 3_600_000

/** Returns the record after a decision; null unless it waits for one. */
export function decided(
  record: ApprovalRecord,
  { approver, verdict, note, at }: ApprovalDecision,
): ApprovalRecord | null {
  if (record.state !== 'pending' || at >= record.expiresAt) return null
  const expiresAt =
    verdict === 'approved' ? Math.max(record.expiresAt, at + APPROVED_MS) : record.expiresAt
  return { ...record, state: verdict, approver, note, decidedAt: at, expiresAt }
}

/** Returns the record after its one use; null unless it is approved and has not ended. */
export function consumed(
  record: ApprovalRecord,
  { exchange, at }: { readonly exchange: string; readonly at: number },
): ApprovalRecord | null {
  if (record.state !== 'approved' || at >= record.expiresAt) return null
  return { ...record, state: 'consumed', consumedBy: exchange, expiresAt: at + APPROVED_MS }
}

/**
 * Returns why a principal may not decide on the record; null if it may. The caller and the user on
 * whose behalf it acts are excluded by name within their issuer, so that neither an agent and a
 * user of one name nor two agents of one user approve for each other.
 */
export function approverFault(
  record: Pick<ApprovalRecord, 'caller' | 'user'>,
  approver: { readonly caller: Principal; readonly user: Principal | null },
): string | null {
  const asked = [record.caller, ...(record.user === null ? [] : [record.user])]
  const deciding = [approver.caller, ...(approver.user === null ? [] : [approver.user])]
  const own = deciding.find((one) => asked.some((other) => isSamePerson(one, other)))
  return own === undefined ? null : `${own.subject} may not decide on its own request`
}

function isSamePerson(a: Principal, b: Principal): boolean {
  return a.issuer === b.issuer && a.subject === b.subject
}

/** A principal as text, for the record: its canonical form. */
export function principalText(principal: Principal): PrincipalKey {
  return principalKey(principal)
}

export function encodeApproval(record: ApprovalRecord): string {
  return JSON.stringify(record)
}

/** Throws on a row that this version did not write: what cannot be read permits nothing. */
export function decodeApproval(text: string): ApprovalRecord {
  const record = JSON.parse(text) as ApprovalRecord
  const isWhole = typeof record.id === 'string' && typeof record.digest === 'string'
  if (!isWhole || !Number.isSafeInteger(record.expiresAt)) {
    throw new TypeError('the stored approval is malformed')
  }
  return record
}
