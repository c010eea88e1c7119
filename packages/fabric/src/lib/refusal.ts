import {
  type ExchangeHolder,
  isExchangeId,
  isFormerExchangeId,
  mayHaveActed,
  type RefusalCode,
  type WithdrawalReason,
} from '@countersign/protocol'

/** Known of some refusals only. */
export interface RefusalFacts {
  readonly caller?: string | null
  readonly limit?: string | null
  readonly byOthers?: boolean
  readonly rpcId?: RpcId
  readonly approval?: ApprovalReference | null
  readonly holder?: ExchangeHolder | null
}

/** The approval that a refusal is about: its id and its end reach the caller. */
export interface ApprovalReference {
  readonly id: string
  /** The digest of the action, in hex; null where a receiver states the refusal. */
  readonly digest: string | null
  readonly expiresAt: number
}

/** The id of the JSON-RPC request that is answered; undefined where there is none to answer. */
export type RpcId = string | number | null | undefined

/** An answer, not an accident: refusals are returned, and only failures are thrown. */
export class Refusal {
  readonly code: RefusalCode
  /** For operators and the ledger. A transport never sends it. */
  readonly detail: string
  /** Milliseconds after which the caller may try again, where the refusing stage knows it. */
  readonly retryAfterMs: number | null
  /** SPIFFE ID of a caller that proved itself and may not act all the same; null when unknown. */
  readonly caller: string | null
  /** The limit that was reached, as `lib/limits.ts` writes it; a transport sends it. */
  readonly limit: string | null
  /**
   * Other agents, or their status, can have brought it about: it does not raise the caller's risk.
   */
  readonly byOthers: boolean
  /**
   * Of a request that was read far enough to answer it as JSON-RPC, and not to name its operation.
   */
  readonly rpcId: RpcId
  /** Null unless the refusal is about an approval. */
  readonly approval: ApprovalReference | null
  /** The replica to ask instead; null unless the exchange is in the log of another one. */
  readonly holder: ExchangeHolder | null

  constructor(
    code: RefusalCode,
    detail: string,
    retryAfterMs: number | null = null,
    {
      caller = null,
      limit = null,
      byOthers = false,
      rpcId,
      approval = null,
      holder = null,
    }: RefusalFacts = {},
  ) {
    this.code = code
    this.detail = detail
    this.retryAfterMs = retryAfterMs
    this.caller = caller
    this.limit = limit
    this.byOthers = byOthers
    this.rpcId = rpcId
    this.approval = approval
    this.holder = holder
  }

  /**
   * True if the receiver acted or may have acted. Transports send this, never a guess by the code.
   */
  get mayHaveActed(): boolean {
    return mayHaveActed(this.code)
  }
}

/**
 * A request names a reference (a task, a conversation, a stream) that does not belong to its
 * caller. Its receiver and its session are known: no client may take this for the end of either.
 */
export class UnknownReference extends Refusal {
  constructor(detail: string) {
    super('RECEIVER_UNKNOWN', detail)
  }
}

/**
 * The right to go on ended after it was granted. Callers learn the reason, and whether to begin
 * again.
 */
export class Withdrawal extends Refusal {
  readonly reason: WithdrawalReason
  readonly #isBeforeDelivery: boolean

  /** Counts as after delivery unless the caller knows that nothing was delivered. */
  constructor(reason: WithdrawalReason, detail: string, isBeforeDelivery = false) {
    super('WITHDRAWN', detail)
    this.reason = reason
    this.#isBeforeDelivery = isBeforeDelivery
  }

  override get mayHaveActed(): boolean {
    return !this.#isBeforeDelivery
  }

  /** The same withdrawal of an exchange whose receiver has done nothing. */
  beforeDelivery(): Withdrawal {
    return new Withdrawal(this.reason, this.detail, true)
  }
}

/**
 * A refusal that the receiver states of itself, over a connection that proves it to be the
 * receiver. Its request had left, so only the receiver knows whether it acted first: the code
 * reaches the caller as the receiver's word, and never as a reason to send again.
 */
export class StatedRefusal extends Refusal {
  /** SPIFFE ID of the receiver. */
  readonly statedBy: string
  /** As an `UnknownReference`: the receiver and the session go on. */
  readonly isOfReference: boolean

  constructor(
    code: RefusalCode,
    detail: string,
    stated: {
      readonly statedBy: string
      readonly limit: string | null
      readonly isOfReference?: boolean
      readonly approval?: ApprovalReference | null
    },
  ) {
    const { limit, approval = null } = stated
    super(code, detail, null, { limit, approval })
    this.statedBy = stated.statedBy
    this.isOfReference = stated.isOfReference ?? false
  }

  override get mayHaveActed(): boolean {
    return true
  }
}

/**
 * The result of a step that waits only where it has to: each promise costs the path of every
 * request a turn of the microtask queue.
 */
export type Maybe<Result> = Result | Refusal | Promise<Result | Refusal>

/** Passes the result of a step to `use`: at once, or when its promise resolves. */
export function andThen<Given, Result>(
  given: Given | Promise<Given>,
  use: (given: Given) => Result | Promise<Result>,
): Result | Promise<Result> {
  return given instanceof Promise ? given.then(use) : use(given)
}

/** For a stage that threw: what could not be decided is refused. */
export function undecided(cause: unknown): Refusal {
  return new Refusal('UNDECIDED', String(cause))
}

/** Null for the id of an exchange. A client of an earlier version is refused as that. */
export function exchangeIdFault(exchange: string): Refusal | null {
  if (isExchangeId(exchange)) return null
  if (!isFormerExchangeId(exchange)) {
    return new Refusal('MESSAGE_MALFORMED', `${exchange} is not the id of an exchange`)
  }
  const detail = `${exchange} is an id of an earlier version, they begin with exc_<slot>_: update the client`
  return new Refusal('VERSION_UNSUPPORTED', detail)
}
