import {
  type ApprovalField,
  isExchangeId,
  isRefusalCode,
  parseApprovalField,
  parseLimitText,
  type RefusalCode,
} from '@countersign/protocol'
import { Refusal, StatedRefusal } from '../../lib/refusal.ts'
import { Undelivered, withheld } from '../../pipeline/delivery.ts'
import type { BalancedResponse } from '../../routes/upstream.ts'

/**
 * The treatment of each code that a receiver states of itself, after bytes of the request have been
 * sent. `stated`: passed on as its statement, which never asks the caller to send again. `unknown`:
 * the receiver does not know either. `never`: no call to an agent ends so, and the response is not
 * acceptable.
 */
const STATEMENTS: Readonly<Record<RefusalCode, 'stated' | 'unknown' | 'never'>> = {
  CREDENTIAL_MISSING: 'stated',
  CREDENTIAL_REJECTED: 'stated',
  CREDENTIAL_SPENT: 'never',
  CREDENTIAL_EXPIRED: 'stated',
  CREDENTIALS_CONFLICTING: 'stated',
  AGENT_QUARANTINED: 'stated',
  AGENT_REVOKED: 'stated',
  SIGNATURE_MISSING: 'stated',
  SIGNATURE_REJECTED: 'stated',
  // Every request carries a nonce of its own, so it can only be a second copy of the first.
  MESSAGE_REPLAYED: 'unknown',
  MESSAGE_MALFORMED: 'stated',
  MESSAGE_TOO_LARGE: 'stated',
  CONTENT_UNSUPPORTED: 'stated',
  CONTENT_BLOCKED: 'stated',
  OPERATION_UNKNOWN: 'stated',
  VERSION_UNSUPPORTED: 'stated',
  NOT_PERMITTED: 'stated',
  APPROVAL_REQUIRED: 'stated',
  APPROVAL_PENDING: 'stated',
  APPROVAL_DENIED: 'stated',
  RATE_LIMITED: 'stated',
  OVERLOADED: 'stated',
  RECEIVER_UNKNOWN: 'stated',
  EXCHANGE_UNKNOWN: 'never',
  EXCHANGE_ERASED: 'never',
  ENTRIES_PRUNED: 'never',
  EXCHANGE_ELSEWHERE: 'never',
  CURSOR_UNKNOWN: 'never',
  EXCHANGE_OPEN: 'never',
  // Of a connector that did not reach its agent.
  RECEIVER_UNREACHABLE: 'stated',
  OUTCOME_UNKNOWN: 'unknown',
  RESPONSE_REJECTED: 'stated',
  STREAM_REJECTED: 'stated',
  COUNTERSIGNATURE_MISSING: 'stated',
  COUNTERSIGNATURE_REJECTED: 'stated',
  // Passed on without its reason, because some reasons ask a caller to begin again.
  WITHDRAWN: 'stated',
  EPOCH_STALE: 'never',
  CHANNEL_FULL: 'never',
  LEASE_LOST: 'never',
  IDEMPOTENCY_CONFLICT: 'never',
  LEDGER_UNAVAILABLE: 'stated',
  UNDECIDED: 'stated',
}

interface StatementFacts {
  readonly limit: string | null
  /** See `StatedRefusal`. */
  readonly isOfReference?: boolean
  readonly approval?: ApprovalField | null
  /** The exchange id under which the receiver claims to have recorded it; for operators only. */
  readonly exchange: string | null
}

/** The code of a refusal that `receiver` may state of itself, or why it may not. */
export function readStatement(
  code: string | undefined,
  receiver: string,
  { limit, exchange, isOfReference, approval = null }: StatementFacts = {
    limit: null,
    exchange: null,
  },
): Refusal {
  const known = isRefusalCode(code) ? code : null
  const statement = known === null ? 'never' : STATEMENTS[known]
  if (known === null || statement === 'never') {
    return new Refusal('RESPONSE_REJECTED', `${receiver} states a refusal that it cannot make`)
  }
  const detail = `${receiver} states ${known}${exchange === null ? '' : `, recorded as ${exchange}`}`
  return statement === 'stated'
    ? new StatedRefusal(known, detail, {
        statedBy: receiver,
        limit,
        isOfReference: known === 'RECEIVER_UNKNOWN' && isOfReference === true,
        // Its caller has to know what it waits for, though a repeat is never asked for.
        approval: approval === null ? null : { ...approval, digest: null },
      })
    : new Refusal('OUTCOME_UNKNOWN', detail)
}

/**
 * The refusal in the head of a response, whose peer proved to be `receiver`; null where there is
 * none. Nothing else of such a response passes: neither its body and exchange nor when to come
 * back.
 */
export function statedRefusal(
  { status, headers, attempts }: Pick<BalancedResponse, 'status' | 'headers' | 'attempts'>,
  receiver: string,
): Undelivered | null {
  const valuesOf = (field: string) =>
    headers.flatMap(([name, value]) => (name.toLowerCase() === field ? [value] : []))
  const codes = valuesOf('countersign-refusal')
  if (codes.length === 0) return null
  const [limit = '', ...others] = valuesOf('countersign-limit')
  const [exchange] = valuesOf('countersign-exchange')
  const approvals = valuesOf('countersign-approval')
  const told = readStatement(codes.length === 1 ? codes[0] : undefined, receiver, {
    limit: others.length === 0 ? parseLimitText(limit) : null,
    exchange: isExchangeId(exchange) ? exchange : null,
    isOfReference: status !== 404,
    approval: approvals.length === 1 ? parseApprovalField(approvals[0] ?? null) : null,
  })
  return told.code === 'OUTCOME_UNKNOWN'
    ? new Undelivered({ progress: 'sent', detail: told.detail }, attempts)
    : withheld(told, attempts)
}
