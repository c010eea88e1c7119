import type { RefusalCode } from '@countersign/protocol'

/**
 * The form in which the gateway's peers receive a refusal: the HTTP status (RFC 9110, section 15),
 * and the JSON-RPC code inside the body where the caller speaks A2A or MCP. The codes lie outside
 * the range that JSON-RPC 2.0 (section 5.1) reserves, so they can clash with neither protocol's
 * own.
 *
 * A refusal added without deciding both does not compile.
 */
export const GATEWAY_WIRE = {
  CREDENTIAL_MISSING: { status: 401, jsonRpc: -31001 },
  CREDENTIAL_REJECTED: { status: 401, jsonRpc: -31002 },
  CREDENTIAL_SPENT: { status: 401, jsonRpc: -31036 },
  CREDENTIAL_EXPIRED: { status: 401, jsonRpc: -31003 },
  CREDENTIALS_CONFLICTING: { status: 400, jsonRpc: -31004 },
  AGENT_QUARANTINED: { status: 403, jsonRpc: -31005 },
  AGENT_REVOKED: { status: 403, jsonRpc: -31006 },
  SIGNATURE_MISSING: { status: 401, jsonRpc: -31007 },
  SIGNATURE_REJECTED: { status: 401, jsonRpc: -31008 },
  MESSAGE_REPLAYED: { status: 409, jsonRpc: -31009 },
  MESSAGE_MALFORMED: { status: 400, jsonRpc: -31010 },
  MESSAGE_TOO_LARGE: { status: 413, jsonRpc: -31011 },
  CONTENT_UNSUPPORTED: { status: 415, jsonRpc: -31012 },
  CONTENT_BLOCKED: { status: 422, jsonRpc: -31013 },
  OPERATION_UNKNOWN: { status: 404, jsonRpc: -31014 },
  VERSION_UNSUPPORTED: { status: 400, jsonRpc: -31015 },
  NOT_PERMITTED: { status: 403, jsonRpc: -31016 },
  APPROVAL_REQUIRED: { status: 403, jsonRpc: -31017 },
  APPROVAL_PENDING: { status: 409, jsonRpc: -31037 },
  APPROVAL_DENIED: { status: 403, jsonRpc: -31038 },
  RATE_LIMITED: { status: 429, jsonRpc: -31018 },
  RECEIVER_UNKNOWN: { status: 404, jsonRpc: -31019 },
  RECEIVER_UNREACHABLE: { status: 502, jsonRpc: -31020 },
  OUTCOME_UNKNOWN: { status: 504, jsonRpc: -31021 },
  RESPONSE_REJECTED: { status: 502, jsonRpc: -31022 },
  STREAM_REJECTED: { status: 502, jsonRpc: -31039 },
  COUNTERSIGNATURE_MISSING: { status: 502, jsonRpc: -31023 },
  COUNTERSIGNATURE_REJECTED: { status: 502, jsonRpc: -31024 },
  WITHDRAWN: { status: 403, jsonRpc: -31025 },
  EPOCH_STALE: { status: 409, jsonRpc: -31026 },
  CHANNEL_FULL: { status: 507, jsonRpc: -31027 },
  LEASE_LOST: { status: 409, jsonRpc: -31028 },
  IDEMPOTENCY_CONFLICT: { status: 409, jsonRpc: -31029 },
  LEDGER_UNAVAILABLE: { status: 503, jsonRpc: -31030 },
  UNDECIDED: { status: 503, jsonRpc: -31031 },
  OVERLOADED: { status: 503, jsonRpc: -31033 },
  EXCHANGE_ERASED: { status: 410, jsonRpc: -31042 },
  ENTRIES_PRUNED: { status: 410, jsonRpc: -31043 },
  EXCHANGE_UNKNOWN: { status: 404, jsonRpc: -31034 },
  EXCHANGE_ELSEWHERE: { status: 421, jsonRpc: -31040 },
  CURSOR_UNKNOWN: { status: 400, jsonRpc: -31041 },
  EXCHANGE_OPEN: { status: 409, jsonRpc: -31035 },
} as const satisfies Record<RefusalCode, { readonly status: number; readonly jsonRpc: number }>
