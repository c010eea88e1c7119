import { type ApprovalReference, Refusal } from '../lib/refusal.ts'

/** A person takes longer; a client that waits asks no more often than this. */
const retryAfterMs = 5_000

/** The refusal of an action while a person has to decide, or once one has denied it. */
export function approvalRefusal(
  state: 'pending' | 'denied',
  { id, digest, expiresAt }: ApprovalReference,
): Refusal {
  const approval = { id, digest, expiresAt }
  return state === 'pending'
    ? new Refusal('APPROVAL_PENDING', `${id} waits for an approver`, retryAfterMs, { approval })
    : new Refusal('APPROVAL_DENIED', `${id} was denied`, null, { approval })
}
