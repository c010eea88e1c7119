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
  /** The caller, as the fabric has authenticated it, or the receiver whose connector states it. */
  readonly askedBy: Principal
  /** The refused exchange that asked for it. */
  readonly requestedBy: string
  readonly requestedAt: number
  readonly expiresAt: number
  readonly state: StoredState
  /** The decision that is being recorded while the request still waits; null for none. */
  readonly held: HeldDecision | null
  readonly approver: Principal | null
  /** The user on whose behalf the approver decided; null for none. */
  readonly approverUser: Principal | null
  readonly decidedAt: number | null
  /** The approver's own reason. */
  readonly note: string
  /** The history of the state in which it was decided; empty before. */
  readonly history: string
  /** The exchange that used it. */
  readonly consumedBy: string | null
}

/** The decision of a person. */
export interface ApprovalDecision {
  readonly approver: Principal
  /** On whose behalf the approver decides; null for itself. */
  readonly user: Principal | null
  readonly verdict: 'approved' | 'denied'
  readonly note: string
  readonly at: number
}

/**
 * A decision that holds its request: no other one is recorded, so that of two at once the log
 * states the one that takes effect.
 */
export interface HeldDecision extends ApprovalDecision {
  /** The exchange in which the approver decides. */
  readonly exchange: string
  /** The history of the state. */
  readonly history: string
  /** From then on, the decision may be withdrawn: its process has failed, or is too slow. */
  readonly until: number
  /** The end of the request without the decision. */
  readonly endsAt: number
}

/** A decision is recorded and in effect within this; otherwise it may be withdrawn. */
export const DECISION_MS = 30_000

/** Of an approved action, from the decision on; it outlives the request if that ends sooner. */
export const APPROVED_MS = 3_600_000

/** Returns the record that the decision holds; null unless the record waits for one. */
export function held(
  record: ApprovalRecord,
  decision: ApprovalDecision & Pick<HeldDecision, 'exchange' | 'history'>,
): ApprovalRecord | null {
  const { at } = decision
  if (record.state !== 'pending' || record.held !== null || at >= record.expiresAt) return null
  const hold = { ...decision, until: at + DECISION_MS, endsAt: record.expiresAt }
  // The row outlives the decision, which would be on record without an effect otherwise.
  return { ...record, held: hold, expiresAt: Math.max(record.expiresAt, at + APPROVED_MS) }
}

/** Returns the record with another end of the hold, so that no earlier holder changes it. */
export function heldUntil(record: ApprovalRecord, until: number): ApprovalRecord {
  return record.held === null ? record : { ...record, held: { ...record.held, until } }
}

/** Returns the record after the decision that holds it. */
export function decided(record: ApprovalRecord): ApprovalRecord {
  if (record.held === null) return record
  const { approver, user, verdict, note, at, endsAt, history } = record.held
  const expiresAt = verdict === 'approved' ? Math.max(endsAt, at + APPROVED_MS) : endsAt
  const decision = { state: verdict, approver, approverUser: user, note, decidedAt: at, history }
  return { ...record, ...decision, held: null, expiresAt }
}

/** Reports whether a record was decided as the other one was, and may have been used since. */
export function isSameDecision(record: ApprovalRecord, other: ApprovalRecord): boolean {
  const { approver, decidedAt, note } = record
  if (approver === null || other.approver === null || decidedAt === null) return false
  const isSameState = record.state === other.state || record.state === 'consumed'
  const isOfOne = principalKey(approver) === principalKey(other.approver)
  return isSameState && isOfOne && decidedAt === other.decidedAt && note === other.note
}

/** Returns the record as it was before the decision that holds it. */
export function withdrawn(record: ApprovalRecord): ApprovalRecord {
  return record.held === null ? record : { ...record, held: null, expiresAt: record.held.endsAt }
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
  const isWhole = [record.id, record.digest, record.history].every(
    (each) => typeof each === 'string',
  )
  // Absent is not null: a row of an earlier form is not read.
  const isOfForm = record.held !== undefined && record.approverUser !== undefined
  if (!isWhole || !Number.isSafeInteger(record.expiresAt) || !isOfForm) {
    throw new TypeError('the stored approval is malformed')
  }
  return record
}
