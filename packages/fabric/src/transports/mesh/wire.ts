import type { RefusalCode } from '@countersign/protocol'

/**
 * The form of a refusal to a connector's peer: the HTTP status, the JSON-RPC code, and whether the
 * callee's side ends the connection as well, because the proof at the handshake no longer holds.
 */
export const MESH_WIRE = {
  CREDENTIAL_MISSING: { status: 401, jsonRpc: -31001, closes: false },
  CREDENTIAL_REJECTED: { status: 401, jsonRpc: -31002, closes: true },
  CREDENTIAL_SPENT: { status: 401, jsonRpc: -31036, closes: true },
  CREDENTIAL_EXPIRED: { status: 401, jsonRpc: -31003, closes: true },
  CREDENTIALS_CONFLICTING: { status: 400, jsonRpc: -31004, closes: false },
  AGENT_QUARANTINED: { status: 403, jsonRpc: -31005, closes: true },
  AGENT_REVOKED: { status: 403, jsonRpc: -31006, closes: true },
  SIGNATURE_MISSING: { status: 401, jsonRpc: -31007, closes: false },
  SIGNATURE_REJECTED: { status: 401, jsonRpc: -31008, closes: false },
  MESSAGE_REPLAYED: { status: 409, jsonRpc: -31009, closes: false },
  MESSAGE_MALFORMED: { status: 400, jsonRpc: -31010, closes: false },
  MESSAGE_TOO_LARGE: { status: 413, jsonRpc: -31011, closes: false },
  CONTENT_UNSUPPORTED: { status: 415, jsonRpc: -31012, closes: false },
  CONTENT_BLOCKED: { status: 422, jsonRpc: -31013, closes: false },
  OPERATION_UNKNOWN: { status: 404, jsonRpc: -31014, closes: false },
  VERSION_UNSUPPORTED: { status: 400, jsonRpc: -31015, closes: false },
  NOT_PERMITTED: { status: 403, jsonRpc: -31016, closes: false },
  APPROVAL_REQUIRED: { status: 403, jsonRpc: -31017, closes: false },
  APPROVAL_PENDING: { status: 409, jsonRpc: -31037, closes: false },
  APPROVAL_DENIED: { status: 403, jsonRpc: -31038, closes: false },
  RATE_LIMITED: { status: 429, jsonRpc: -31018, closes: false },
  RECEIVER_UNKNOWN: { status: 404, jsonRpc: -31019, closes: false },
  RECEIVER_UNREACHABLE: { status: 502, jsonRpc: -31020, closes: false },
  OUTCOME_UNKNOWN: { status: 504, jsonRpc: -31021, closes: false },
  RESPONSE_REJECTED: { status: 502, jsonRpc: -31022, closes: false },
  STREAM_REJECTED: { status: 502, jsonRpc: -31039, closes: true },
  COUNTERSIGNATURE_MISSING: { status: 502, jsonRpc: -31023, closes: false },
  COUNTERSIGNATURE_REJECTED: { status: 502, jsonRpc: -31024, closes: false },
  WITHDRAWN: { status: 403, jsonRpc: -31025, closes: true },
  EPOCH_STALE: { status: 409, jsonRpc: -31026, closes: false },
  CHANNEL_FULL: { status: 507, jsonRpc: -31027, closes: false },
  LEASE_LOST: { status: 409, jsonRpc: -31028, closes: false },
  IDEMPOTENCY_CONFLICT: { status: 409, jsonRpc: -31029, closes: false },
  LEDGER_UNAVAILABLE: { status: 503, jsonRpc: -31030, closes: false },
  UNDECIDED: { status: 503, jsonRpc: -31031, closes: false },
  OVERLOADED: { status: 503, jsonRpc: -31033, closes: false },
  EXCHANGE_ERASED: { status: 410, jsonRpc: -31042, closes: false },
  ENTRIES_PRUNED: { status: 410, jsonRpc: -31043, closes: false },
  EXCHANGE_UNKNOWN: { status: 404, jsonRpc: -31034, closes: false },
  EXCHANGE_ELSEWHERE: { status: 421, jsonRpc: -31040, closes: false },
  CURSOR_UNKNOWN: { status: 400, jsonRpc: -31041, closes: false },
  EXCHANGE_OPEN: { status: 409, jsonRpc: -31035, closes: false },
} as const satisfies Record<
  RefusalCode,
  { readonly status: number; readonly jsonRpc: number; readonly closes: boolean }
>
