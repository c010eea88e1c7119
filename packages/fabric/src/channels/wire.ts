import type { RefusalCode } from '@countersign/protocol'

/**
 * The response in which a sender or receiver gets a refusal on a channel, and the disposition of
 * the message: it is rejected (the sender keeps it), to be retried unchanged, or it belongs with
 * the dead letters.
 */
export const QUEUE_WIRE = {
  CREDENTIAL_MISSING: { status: 401, disposition: 'reject' },
  CREDENTIAL_REJECTED: { status: 401, disposition: 'reject' },
  CREDENTIAL_SPENT: { status: 401, disposition: 'reject' },
  CREDENTIAL_EXPIRED: { status: 401, disposition: 'reject' },
  CREDENTIALS_CONFLICTING: { status: 400, disposition: 'reject' },
  AGENT_QUARANTINED: { status: 403, disposition: 'reject' },
  AGENT_REVOKED: { status: 403, disposition: 'reject' },
  SIGNATURE_MISSING: { status: 401, disposition: 'reject' },
  SIGNATURE_REJECTED: { status: 401, disposition: 'dead-letter' },
  MESSAGE_REPLAYED: { status: 409, disposition: 'reject' },
  MESSAGE_MALFORMED: { status: 400, disposition: 'dead-letter' },
  MESSAGE_TOO_LARGE: { status: 413, disposition: 'reject' },
  CONTENT_UNSUPPORTED: { status: 415, disposition: 'reject' },
  CONTENT_BLOCKED: { status: 422, disposition: 'reject' },
  OPERATION_UNKNOWN: { status: 404, disposition: 'reject' },
  VERSION_UNSUPPORTED: { status: 400, disposition: 'reject' },
  NOT_PERMITTED: { status: 403, disposition: 'reject' },
  APPROVAL_REQUIRED: { status: 403, disposition: 'reject' },
  APPROVAL_PENDING: { status: 409, disposition: 'retry' },
  APPROVAL_DENIED: { status: 403, disposition: 'reject' },
  RATE_LIMITED: { status: 429, disposition: 'retry' },
  RECEIVER_UNKNOWN: { status: 404, disposition: 'reject' },
  EXCHANGE_ERASED: { status: 410, disposition: 'reject' },
  ENTRIES_PRUNED: { status: 410, disposition: 'reject' },
  EXCHANGE_UNKNOWN: { status: 404, disposition: 'reject' },
  EXCHANGE_ELSEWHERE: { status: 421, disposition: 'reject' },
  CURSOR_UNKNOWN: { status: 400, disposition: 'reject' },
  EXCHANGE_OPEN: { status: 409, disposition: 'retry' },
  RECEIVER_UNREACHABLE: { status: 502, disposition: 'retry' },
  // Each sealed message has an idempotency key, so the same bytes are stored once.
  OUTCOME_UNKNOWN: { status: 504, disposition: 'retry' },
  RESPONSE_REJECTED: { status: 502, disposition: 'reject' },
  STREAM_REJECTED: { status: 502, disposition: 'reject' },
  COUNTERSIGNATURE_MISSING: { status: 502, disposition: 'reject' },
  COUNTERSIGNATURE_REJECTED: { status: 502, disposition: 'reject' },
  WITHDRAWN: { status: 403, disposition: 'reject' },
  EPOCH_STALE: { status: 409, disposition: 'retry' },
  CHANNEL_FULL: { status: 507, disposition: 'retry' },
  LEASE_LOST: { status: 409, disposition: 'reject' },
  IDEMPOTENCY_CONFLICT: { status: 409, disposition: 'reject' },
  LEDGER_UNAVAILABLE: { status: 503, disposition: 'retry' },
  UNDECIDED: { status: 503, disposition: 'retry' },
  OVERLOADED: { status: 503, disposition: 'retry' },
} as const satisfies Record<
  RefusalCode,
  { readonly status: number; readonly disposition: 'reject' | 'retry' | 'dead-letter' }
>
