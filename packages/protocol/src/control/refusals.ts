/**
 * Every refusal of this fabric.
 *
 * `says` is the one fixed sentence that a caller receives. `retry` is true when the same message
 * may be sent again unchanged. docs/refusals.md explains each code and the action that it calls
 * for.
 */
export const REFUSALS = {
  CREDENTIAL_MISSING: { retry: false, says: 'no credential was presented' },
  CREDENTIAL_REJECTED: { retry: false, says: 'the credential was not accepted' },
  CREDENTIAL_SPENT: { retry: false, says: 'the credential was good once and has been used' },
  CREDENTIAL_EXPIRED: { retry: false, says: 'the credential has expired' },
  CREDENTIALS_CONFLICTING: { retry: false, says: 'the credentials name different callers' },
  AGENT_QUARANTINED: { retry: false, says: 'this agent is quarantined' },
  AGENT_REVOKED: { retry: false, says: 'this agent has been revoked' },
  SIGNATURE_MISSING: { retry: false, says: 'policy requires a signed request' },
  SIGNATURE_REJECTED: { retry: false, says: 'the message signature was not accepted' },
  MESSAGE_REPLAYED: { retry: false, says: 'this message was seen before' },
  MESSAGE_MALFORMED: { retry: false, says: 'the message could not be parsed' },
  MESSAGE_TOO_LARGE: { retry: false, says: 'the message exceeds a size limit' },
  CONTENT_UNSUPPORTED: { retry: false, says: 'this kind of content cannot be inspected' },
  CONTENT_BLOCKED: { retry: false, says: 'inspection stopped this message' },
  OPERATION_UNKNOWN: { retry: false, says: 'the operation is not known here' },
  VERSION_UNSUPPORTED: {
    retry: false,
    says: 'the protocol version is not supported; update the client or use a listed version',
  },
  NOT_PERMITTED: { retry: false, says: 'policy does not allow this' },
  APPROVAL_REQUIRED: {
    retry: false,
    says: 'policy requires an approval, which cannot be asked for here',
  },
  APPROVAL_PENDING: { retry: true, says: 'the action waits for an approval' },
  APPROVAL_DENIED: { retry: false, says: 'an approver denied this action' },
  RATE_LIMITED: { retry: true, says: 'the rate limit is exhausted' },
  OVERLOADED: { retry: true, says: 'the fabric has no room for this request now' },
  RECEIVER_UNKNOWN: { retry: false, says: 'no such receiver is known' },
  EXCHANGE_UNKNOWN: { retry: false, says: 'no exchange of that id is on record' },
  EXCHANGE_ERASED: {
    retry: false,
    says: 'a principal of this exchange was erased, so its facts cannot be shown any more',
  },
  ENTRIES_PRUNED: {
    retry: false,
    says: 'entries of that time were removed under the retention policy of the ledger',
  },
  EXCHANGE_ELSEWHERE: {
    retry: false,
    says: 'another replica holds the log of this exchange; ask that one',
  },
  CURSOR_UNKNOWN: {
    retry: false,
    says: 'the cursor is of another log, or beyond the end of this one; begin again without it',
  },
  EXCHANGE_OPEN: { retry: true, says: 'the exchange is still open, so it has no receipt yet' },
  RECEIVER_UNREACHABLE: { retry: true, says: 'the receiver could not be reached' },
  OUTCOME_UNKNOWN: { retry: false, says: 'the outcome is unknown: the receiver may have acted' },
  RESPONSE_REJECTED: {
    retry: false,
    says: 'the receiver acted, but its response was not acceptable',
  },
  STREAM_REJECTED: {
    retry: false,
    says: 'a part of the streamed request may not pass; the receiver may have acted on the rest',
  },
  COUNTERSIGNATURE_MISSING: {
    retry: false,
    says: 'the receiver acted, but policy requires a countersigned response',
  },
  COUNTERSIGNATURE_REJECTED: {
    retry: false,
    says: 'the receiver acted, but its countersignature was not accepted',
  },
  WITHDRAWN: { retry: false, says: 'the right to go on was withdrawn' },
  EPOCH_STALE: { retry: true, says: 'the channel has moved to a newer epoch' },
  CHANNEL_FULL: { retry: true, says: 'the channel has reached its limit' },
  LEASE_LOST: { retry: false, says: 'the lease is no longer held' },
  IDEMPOTENCY_CONFLICT: { retry: false, says: 'the idempotency key was used for another message' },
  LEDGER_UNAVAILABLE: { retry: true, says: 'the exchange could not be recorded' },
  UNDECIDED: { retry: true, says: 'no decision could be made' },
} as const satisfies Record<string, { readonly retry: boolean; readonly says: string }>

export type RefusalCode = keyof typeof REFUSALS

export function isRefusalCode(value: unknown): value is RefusalCode {
  return typeof value === 'string' && Object.hasOwn(REFUSALS, value)
}

/**
 * The reasons why a right that was good at the start of an exchange ended before its end, and
 * whether the same caller may begin again: with a newer credential, or under the stricter policy. A
 * closed set, since callers receive it; the details are for the ledger.
 */
export const WITHDRAWALS = {
  'credential-expired': { reconnect: true },
  'credential-revoked': { reconnect: false },
  'caller-quarantined': { reconnect: false },
  'caller-revoked': { reconnect: false },
  'caller-unknown': { reconnect: false },
  'receiver-gone': { reconnect: false },
  'policy-denies': { reconnect: false },
  'policy-tightened': { reconnect: true },
  undecided: { reconnect: true },
} as const satisfies Record<string, { readonly reconnect: boolean }>

export type WithdrawalReason = keyof typeof WITHDRAWALS

export function isWithdrawalReason(value: unknown): value is WithdrawalReason {
  return typeof value === 'string' && Object.hasOwn(WITHDRAWALS, value)
}

/**
 * Refusals that reach a caller after its message left for the receiver. Every other code means that
 * the receiver has done nothing.
 */
const AFTER_DELIVERY: ReadonlySet<RefusalCode> = new Set([
  'OUTCOME_UNKNOWN',
  'RESPONSE_REJECTED',
  'STREAM_REJECTED',
  'COUNTERSIGNATURE_MISSING',
  'COUNTERSIGNATURE_REJECTED',
  'WITHDRAWN',
])

/**
 * Reports whether the receiver acted or may have acted, so that a second message could act twice.
 */
export function mayHaveActed(code: RefusalCode): boolean {
  return AFTER_DELIVERY.has(code)
}
