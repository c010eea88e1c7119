import {
  type ExchangeHolder,
  isRefusalCode,
  isWithdrawalReason,
  mayHaveActed,
  parseApprovalField,
  parseHolderField,
  parseLimitText,
  parseSpiffeId,
  REFUSALS,
  type RefusalCode,
  WITHDRAWALS,
  type WithdrawalReason,
} from '@countersign/protocol'
import { LIMITS } from '../lib/limits.ts'

/** The step that the author of the calling agent can take after each refusal. */
const NEXT: Readonly<Record<RefusalCode, string>> = {
  CREDENTIAL_MISSING: 'open the agent with `openAgent` and call through it',
  CREDENTIAL_REJECTED: 'check that this identity belongs to this fabric; otherwise enrol again',
  CREDENTIAL_SPENT:
    'ask the operator for a new join string (`countersign agent enroll <name>`); if it was not used by you, tell the operator: another party enrolled with it',
  CREDENTIAL_EXPIRED: 'check the clock of this machine, then enrol again',
  CREDENTIALS_CONFLICTING: 'do not send another credential with the certificate',
  AGENT_QUARANTINED: 'ask the operator why; `countersign explain <exchange>` shows the reason',
  AGENT_REVOKED: 'ask the operator; a revoked identity never comes back, a new one can be enrolled',
  SIGNATURE_MISSING: 'call with signing on, which is the default',
  SIGNATURE_REJECTED: 'check the clock of this machine and that nothing between rewrites requests',
  MESSAGE_REPLAYED: 'make a new call; a signed request is good once',
  MESSAGE_MALFORMED: 'check the body against the protocol it claims to be',
  MESSAGE_TOO_LARGE: 'send less; `limit` names the bound',
  CONTENT_UNSUPPORTED: 'send JSON or text, without content encoding',
  CONTENT_BLOCKED: 'remove the sensitive content; `countersign explain <exchange>` names its class',
  OPERATION_UNKNOWN: 'check the name of the operation',
  VERSION_UNSUPPORTED: 'update this client, or use a protocol version that the fabric carries',
  NOT_PERMITTED:
    'ask for a policy that permits it; `countersign explain <exchange>` shows the deciding policy',
  APPROVAL_REQUIRED: 'ask the operator for a policy that permits it without an approval',
  APPROVAL_PENDING:
    'make the same call again once it is approved (`countersign approval approve <id>`), or pass `approval: { waitMs }`',
  APPROVAL_DENIED: 'ask the approver why; another action needs an approval of its own',
  RATE_LIMITED: 'wait for `retryAfterMs`, then call again',
  OVERLOADED: 'nothing was delivered; wait for `retryAfterMs`, then call again',
  RECEIVER_UNKNOWN: 'check the name: `countersign agent list`',
  EXCHANGE_UNKNOWN: 'check the id, and that it is of this fabric',
  ENTRIES_PRUNED:
    'use your own copy of the receipt, or a backup from before; go on from the first position that is left',
  EXCHANGE_ERASED: 'a receipt that was fetched before the erasure still verifies',
  EXCHANGE_ELSEWHERE:
    'ask the replica that `holder` names; without an address, no process holds that log now: start one on its data folder',
  CURSOR_UNKNOWN: 'begin again without a cursor: it is not one of the log that was asked',
  EXCHANGE_OPEN: 'wait for `retryAfterMs`, then ask again; the exchange stays recorded',
  RECEIVER_UNREACHABLE: 'check that the receiver serves and is registered, then call again',
  OUTCOME_UNKNOWN:
    'ask the receiver what became of it; call again only if it may happen twice, or with an idempotency key that the receiver honours',
  RESPONSE_REJECTED:
    'do not call again, the receiver acted; tell the author of the receiver; `countersign explain <exchange>` shows the reason',
  STREAM_REJECTED:
    'ask the receiver what it took of the stream; `countersign explain <exchange>` shows the frame and the reason',
  COUNTERSIGNATURE_MISSING:
    'do not call again, the receiver acted; the receiver has to serve through the SDK or a connector',
  COUNTERSIGNATURE_REJECTED:
    'do not call again, the receiver acted; tell the operator: the response was changed on its way',
  WITHDRAWN: 'ask the operator what changed while the call was running',
  EPOCH_STALE: 'open the channel again, which fetches the new epoch',
  CHANNEL_FULL: 'wait until consumers caught up, then send again',
  LEASE_LOST: 'take the message again; another consumer may have it',
  IDEMPOTENCY_CONFLICT: 'use a new idempotency key for a new message',
  LEDGER_UNAVAILABLE: 'nothing was delivered; call again later',
  UNDECIDED: 'nothing was delivered; call again later, and tell the operator if it persists',
}

/** A streamed request is refused for other reasons, and its body cannot be read again. */
const NEXT_OF_STREAM: Readonly<Partial<Record<RefusalCode, string>>> = {
  SIGNATURE_MISSING:
    'a streamed request does not count as signed: send the content whole, or ask for a policy that permits it unsigned',
  MESSAGE_TOO_LARGE:
    'send smaller frames, or fewer; `limit` names the bound; a route that permits no streams bounds the whole body',
  CONTENT_UNSUPPORTED:
    'check that the route of the receiver has the protocol `http` and permits streamed requests (`streams.permit`); send JSON lines in UTF-8, since policy that masks or blocks lets no octets pass',
  APPROVAL_REQUIRED:
    'a streamed request cannot wait for an approval: send the content whole (`body` of bytes or `json`), or ask the operator for a policy that permits it without one',
  APPROVAL_PENDING:
    'once it is approved (`countersign approval approve <id>`), make the call again with a new body: the SDK repeats no streamed request',
}

/** For a refusal that the receiver states of itself. */
const NEXT_OF_STATED =
  'call again only if it may happen twice: the receiver states that it refused, and may have acted'

/** For a right that ended with its credential, or under a policy that is stricter now. */
const BEGIN_AGAIN = 'begin again with a new call'

/** The fabric, or a serving agent, refused. Nothing about it is an accident: act on `code`. */
export class RefusedError extends Error {
  readonly code: RefusalCode
  /** The one fixed sentence of this code. */
  readonly says: string
  /** The exchange id to quote to the operator; null when the refusal came before there was one. */
  readonly exchange: string | null
  /** True when the same message may be tried again unchanged. */
  readonly retry: boolean
  /**
   * True when the receiver acted or may have acted, so that a second call could act twice. False
   * means that the receiver has done nothing.
   */
  readonly mayHaveActed: boolean
  /** Milliseconds after which it may be tried again, where the refusing side stated them. */
  readonly retryAfterMs: number | null
  /** The limit that was reached, such as `limits.bodyBytes, 4 MiB`; null for other refusals. */
  readonly limit: string | null
  /** The step that the reader can take about it, as one sentence. */
  readonly next: string
  /** The reason why a right ended that was good at first; null for every other refusal. */
  readonly reason: WithdrawalReason | null
  /**
   * True when the caller should begin again, with a new exchange: for example, after a credential
   * ended that has been renewed.
   */
  readonly reconnect: boolean
  /**
   * SPIFFE ID of the receiver, where this refusal is the receiver's own statement: it had the
   * request, and only the receiver knows whether it acted first. Null for a refusal of the fabric.
   */
  readonly statedBy: string | null
  /** The HTTP status that carried it. */
  readonly status: number
  /** The approval that the call waits for, or was denied; null for every other refusal. */
  readonly approval: RefusedApproval | null
  /** The replica that holds the log of the exchange; null for every other refusal. */
  readonly holder: ExchangeHolder | null

  constructor(code: RefusalCode, told: Told) {
    const { says } = REFUSALS[code]
    const where = told.exchange === null ? '' : ` (exchange ${told.exchange})`
    const named = told.approval?.id ?? ''
    const approval = named === '' ? '' : ` (${named})`
    const limit = told.limit === undefined || told.limit === null ? '' : ` (${told.limit})`
    const reason = code === 'WITHDRAWN' ? (told.reason ?? null) : null
    const reconnect = reason !== null && WITHDRAWALS[reason].reconnect
    const acted = mayHaveActedOn(code, told)
    const statedBy = told.statedBy ?? null
    const plain = (told.isStreamed === true ? NEXT_OF_STREAM[code] : undefined) ?? NEXT[code]
    const own = code === 'WITHDRAWN' ? nextOfWithdrawal(reconnect, acted) : plain
    const next = statedBy === null ? own : NEXT_OF_STATED
    const word = statedBy === null ? '' : `, on the word of ${statedBy} alone`
    const holder = told.holder ?? null
    const at = holder?.address ?? null
    const log = holder === null ? '' : ` (log slot ${holder.slot}${at === null ? '' : ` at ${at}`})`
    super(`${code}: ${says}${approval}${log}${limit}${word}${where}. Next: ${next}.`)
    this.name = 'RefusedError'
    this.code = code
    this.says = says
    this.mayHaveActed = acted
    this.retry = told.known && !this.mayHaveActed && REFUSALS[code].retry
    this.exchange = told.exchange
    this.retryAfterMs = told.retryAfterMs
    this.limit = told.limit ?? null
    this.next = next
    this.status = told.status
    this.statedBy = statedBy
    this.reason = reason
    this.reconnect = reconnect
    this.approval = told.approval ?? null
    this.holder = holder
  }
}

/**
 * A withdrawal can come before delivery and after it: the fabric states which. Of the other codes
 * the table decides, so that no header can turn an unknown outcome into one that may be repeated.
 */
function mayHaveActedOn(
  code: RefusalCode,
  { begun, known, mayHaveActed: told, statedBy }: Told,
): boolean {
  const isStated = (statedBy ?? null) !== null
  if (begun === true || !known || told === true || isStated) return true
  return code === 'WITHDRAWN' ? told !== false : mayHaveActed(code)
}

function nextOfWithdrawal(reconnect: boolean, acted: boolean): string {
  const step = reconnect ? BEGIN_AGAIN : NEXT.WITHDRAWN
  return `${step}; ${acted ? 'the receiver may have acted on this one' : 'nothing was delivered'}`
}

/** An approval, as a refusal names it. */
export interface RefusedApproval {
  /** For `countersign approval show`. */
  readonly id: string
  /** Unix milliseconds after which the same call needs another approval. */
  readonly expiresAt: number
}

interface Told {
  readonly holder?: ExchangeHolder | null
  readonly approval?: RefusedApproval | null
  /**
   * False for a code of a newer version: its outcome counts as unknown, and it is never tried
   * again.
   */
  readonly known: boolean
  readonly status: number
  readonly exchange: string | null
  readonly retryAfterMs: number | null
  readonly limit?: string | null
  readonly reason?: WithdrawalReason | null
  readonly statedBy?: string | null
  /** As the fabric states it; null or absent where it does not. */
  readonly mayHaveActed?: boolean | null
  /** True when part of the response had arrived already. */
  readonly begun?: boolean
  /** True for the refusal of a streamed request. */
  readonly isStreamed?: boolean
}

/** The refusal that a response head carries, or null: the header decides, never the body. */
export function findRefusal(
  status: number,
  header: (name: string) => string | null,
  asked: { readonly isStreamed?: boolean } = {},
): RefusedError | null {
  const code = header('countersign-refusal')
  if (code === null) return null
  const seconds = header('retry-after')
  const reason = header('countersign-withdrawal')
  return new RefusedError(isRefusalCode(code) ? code : 'OUTCOME_UNKNOWN', {
    ...asked,
    known: isRefusalCode(code),
    status,
    exchange: header('countersign-exchange'),
    reason: isWithdrawalReason(reason) ? reason : null,
    statedBy: agentOf(header('countersign-stated-by')),
    mayHaveActed: flagOf(header('countersign-may-have-acted')),
    retryAfterMs:
      seconds !== null && /^\d{1,6}$/.test(seconds)
        ? Math.min(Number(seconds) * 1000, LIMITS.retryAfterMsMax)
        : null,
    limit: parseLimitText(header('countersign-limit') ?? ''),
    approval: parseApprovalField(header('countersign-approval')),
    holder: code === 'EXCHANGE_ELSEWHERE' ? parseHolderField(header('countersign-holder')) : null,
  })
}

/** Any other text in its place is not shown, and still counts as a statement. */
function agentOf(text: string | null): string | null {
  if (text === null) return null
  return parseSpiffeId(text) === null ? 'the receiver' : text
}

function flagOf(text: string | null): boolean | null {
  return text === 'true' || text === 'false' ? text === 'true' : null
}

/** The event with which the fabric ends a stream that may not go on; null for every other. */
export function parseRefusalEvent(
  event: { readonly event: string; readonly data: string },
  { status, id }: { readonly status: number; readonly id: string | null },
): RefusedError | null {
  if (event.event !== 'countersign-refusal') return null
  const { code, reason, limit, statedBy } = membersOf(event.data)
  const told = {
    known: isRefusalCode(code),
    status,
    exchange: id,
    retryAfterMs: null,
    reason: isWithdrawalReason(reason) ? reason : null,
    limit: typeof limit === 'string' ? parseLimitText(limit) : null,
    statedBy: agentOf(typeof statedBy === 'string' ? statedBy : null),
    begun: true,
  }
  return new RefusedError(isRefusalCode(code) ? code : 'OUTCOME_UNKNOWN', told)
}

function membersOf(data: string): Readonly<Record<string, unknown>> {
  try {
    const told: unknown = JSON.parse(data)
    return typeof told === 'object' && told !== null ? { ...told } : {}
  } catch {
    return {}
  }
}
