import { checkLinked, readSignedHalf, type SignedResponse } from '@countersign/protocol'
import type { MessageSignatures } from '../identity/message-signatures.ts'
import type { FactValue } from '../ledger/ledger.ts'
import { Refusal, StatedRefusal, UnknownReference, type Withdrawal } from '../lib/refusal.ts'
import { sha256 } from '../lib/sha256.ts'
import type { Finding } from '../redaction/redactor.ts'
import type { Authenticated } from './authenticate.ts'
import type { AuthorizeDeps, Authorized } from './authorize.ts'
import { countersignatureFault } from './countersignature.ts'
import {
  type Delivered,
  declinedBy,
  type Forwarder,
  isNotSent,
  type StillPermitted,
  type StreamEvent,
  Undelivered,
  uninspectedAnswer,
  withheld,
} from './delivery.ts'
import type { Exchange } from './exchange.ts'
import type { FrameCodec } from './frames.ts'
import type { InspectDeps } from './inspect.ts'
import { type Fields, withoutForeignDigest } from './inspect-fields.ts'
import { inspectFrame } from './inspect-frame.ts'
import { noParts } from './inspect-parts.ts'
import { accountOfAnswer, inspectShared } from './large-bodies.ts'
import { maskedSummary } from './masked-summary.ts'
import type { Quota } from './quota.ts'
import { mayReachTasks, recheck, recheckCall } from './recheck.ts'
import { attestorOf, type Intended, verifierFault } from './record.ts'
import { type StatusChanges, watchStatus } from './status.ts'
import { cutRequest } from './upload.ts'

export interface DeliverDeps extends InspectDeps {
  readonly signatures: MessageSignatures
  readonly authorization: AuthorizeDeps
  readonly standing: StatusChanges
  readonly trustDomain: string
}

/**
 * Proof that an answer belongs to a recorded intent and was checked and inspected; a stream's
 * events are still to be inspected, one by one. Made in this file only.
 */
class Answered {
  readonly #exchange: Exchange<Intended>
  readonly status: number
  readonly headers: Delivered['headers']
  readonly contentType: string
  /** Null for a whole body, and for events. */
  readonly codec: FrameCodec | null
  /** As the receiver sent them: to be inspected. */
  readonly trailers: () => Fields
  readonly #body: Body
  readonly #withheld: (() => Promise<void>) | undefined
  readonly facts: Readonly<Record<string, FactValue>>
  readonly findings: readonly Finding[]
  /** Size of the body as the receiver sent it; 0 for a stream, whose events are counted. */
  readonly receivedBytes: number
  /**
   * True when inspection changed the body, so that the callee's statements about it no longer hold.
   */
  readonly masked: boolean

  constructor(exchange: Exchange<Intended>, delivered: Delivered, checked: Checked) {
    this.#exchange = exchange
    this.status = delivered.status
    this.headers = checked.headers
    this.contentType = delivered.contentType
    this.codec = delivered.codec ?? null
    this.trailers = delivered.trailers ?? (() => [])
    this.#body = checked.body
    this.#withheld = delivered.withheld
    this.facts = checked.facts
    this.findings = checked.findings
    this.receivedBytes = delivered.body instanceof Uint8Array ? delivered.body.length : 0
    this.masked = checked.body !== delivered.body
  }

  get quota(): Quota {
    return this.#exchange.quota
  }

  /**
   * Returns the body if its caller may still receive it at this moment. No other method returns it.
   */
  handOver(deps: AuthorizeDeps): Body | Withdrawal {
    return recheck(this.#exchange, deps) ?? this.#body
  }

  /** Ends what the receiver holds open, or handed out, for a caller that may not have it. */
  async withhold(): Promise<void> {
    if (this.#body instanceof Uint8Array) await this.#withheld?.()
    else await this.#body[Symbol.asyncIterator]().return?.()
  }
}

type Body = Uint8Array | AsyncIterable<StreamEvent>

export type { Answered }

interface Checked {
  readonly headers: Delivered['headers']
  readonly body: Uint8Array | AsyncIterable<StreamEvent>
  readonly facts: Readonly<Record<string, FactValue>>
  readonly findings: readonly Finding[]
}

/**
 * Carries what is on record, then holds the answer to the same rules as the request. The decision
 * was made before the intent became durable, which takes time; it is made again before anything
 * leaves. Never rejects: each failure states how far the message came.
 */
export async function deliver(
  exchange: Exchange<Intended>,
  forwarder: Forwarder,
  deps: DeliverDeps,
): Promise<Answered | Undelivered> {
  const still = () => recheck(exchange, deps.authorization)
  exchange.upload?.begin(watchStatus(exchange, deps.authorization, deps.standing), (frame) =>
    inspectFrame(frame, exchange, deps),
  )
  const delivered =
    exchange.upload?.cut?.unsent ??
    mayLeave(exchange, deps.authorization) ??
    (await forwarder(exchange, still).catch(
      (cause: unknown) => new Undelivered({ progress: 'sent', detail: String(cause) }),
    ))
  const cut = exchange.upload?.cut ?? null
  if (cut !== null) {
    const isUnsent = delivered instanceof Refusal || isNotSent(delivered)
    if (!isUnsent && !(delivered instanceof Undelivered)) discard(delivered)
    return cutRequest(cut, isUnsent)
  }
  if (delivered instanceof Undelivered) return ownWordFirst(delivered, still)
  if (delivered instanceof Refusal) return declinedBy(delivered)
  // Inspection that throws could not decide; the receiver has acted all the same.
  const undecided = (cause: unknown) => new Refusal('RESPONSE_REJECTED', String(cause))
  const answered = await check(exchange, delivered, deps).catch(undecided)
  if (!(answered instanceof Refusal)) return answered
  discard(delivered)
  return withheld(answered)
}

/**
 * Decides again, after the wait for the intent; null if the message may leave. Another's task looks
 * like one that never was.
 */
export function mayLeave(exchange: Exchange<Authorized>, deps: AuthorizeDeps): Refusal | null {
  const lost = recheckCall(exchange, deps)
  if (lost !== null || mayReachTasks(exchange, deps)) return lost
  return new UnknownReference('the task is not one of this caller')
}

/** Prefers a lost right that is known here over the refusal that the receiver states. */
function ownWordFirst(undelivered: Undelivered, still: StillPermitted): Undelivered {
  const { failure, attempts } = undelivered
  const isStated = failure.progress === 'answered' && failure.refusal instanceof StatedRefusal
  const lost = isStated ? still() : null
  return lost === null ? undelivered : withheld(lost, attempts)
}

/**
 * A stream without a reader would hold its connection open, so it is ended. Messages that were
 * handed out go back.
 */
export function discard({ body, withheld: takeBack }: Delivered): void {
  takeBack?.().catch(() => undefined)
  if (body instanceof Uint8Array) return
  body[Symbol.asyncIterator]()
    .return?.()
    .then(undefined, () => undefined)
}

async function check(
  exchange: Exchange<Intended>,
  delivered: Delivered,
  deps: DeliverDeps,
): Promise<Answered | Refusal> {
  const { target, transport } = exchange
  const { obligations } = exchange.decision

  const signed = delivered.countersignature
  if (signed === null && obligations.signedResponse) {
    return new Refusal('COUNTERSIGNATURE_MISSING', `${target.name} did not sign its response`)
  }
  const whole = delivered.body instanceof Uint8Array ? delivered.body : null
  const { headers: arrived } = delivered
  const answers = exchange.signed ? 'caller' : 'fabric'
  const countersigned = { receiver: target.name, answers, headers: arrived, body: whole } as const
  const fault =
    signed === null ? null : countersignatureFault({ ...countersigned, signed }, deps.signatures)
  if (fault !== null) return fault
  const digest = whole === null ? null : sha256(whole)
  const facts = {
    ...delivered.facts,
    ...countersignatureFacts(delivered, digest, { transport, signatures: deps.signatures }),
  }
  const unproven = signed === null ? null : answerFault({ facts, made: signed }, exchange, deps)
  if (unproven !== null) return unproven
  if (target.protocol === 'queue') {
    const { body, headers } = delivered
    return new Answered(exchange, delivered, { body, headers, facts, findings: [] })
  }
  const own = bodyToForward(delivered)
  const rewritten = own instanceof Promise ? await own : own
  if (rewritten instanceof Refusal) return rewritten
  const { contentType } = delivered
  const fields = withoutForeignDigest(delivered.headers, digest)
  const parts = { ...noParts, signature: signed, fields, body: rewritten, contentType }
  // The time is the receiver's: it chose what it answers.
  const account = accountOfAnswer(exchange)
  const given = inspectShared(deps, parts, obligations, account)
  const inspected = given instanceof Promise ? await given : given
  if (inspected instanceof Refusal) return uninspectedAnswer(inspected)
  const { fields: headers, findings, body } = inspected
  if (body === null) {
    return new Answered(exchange, delivered, { body: delivered.body, headers, facts, findings })
  }
  const forwarded = {
    'response.forwarded-digest': digest !== null && body === delivered.body ? digest : sha256(body),
    'response.masked': maskedSummary(findings),
  }
  const checked = { body, headers, findings, facts: { ...facts, ...forwarded } }
  return new Answered(exchange, delivered, checked)
}

/** The whole body as its receiver may see it; null where it is a stream of events. */
function bodyToForward({
  body,
  rewrite,
}: Delivered): Uint8Array | Refusal | null | Promise<Uint8Array | Refusal> {
  if (!(body instanceof Uint8Array)) return null
  return rewrite === undefined ? body : rewrite(body)
}

/** Runs every verifier's checks of a countersigned response before it is handed over. */
function answerFault(
  { facts, made }: { readonly facts: Delivered['facts']; readonly made: SignedResponse },
  { signature, signed }: Exchange<Authenticated>,
  { trustDomain }: Pick<DeliverDeps, 'trustDomain'>,
): Refusal | null {
  const fault = verifierFault(() => {
    const half = readSignedHalf(facts, 'response', { trustDomain, made })
    const forwarded = facts['forwarded.signature']
    const own = signed ? signature?.signed.signature : undefined
    const asked = own ?? (forwarded instanceof Uint8Array ? forwarded : null)
    if (half !== null) checkLinked(half, asked)
  })
  return fault === null ? null : new Refusal('COUNTERSIGNATURE_REJECTED', fault)
}

function countersignatureFacts(
  delivered: Delivered,
  digest: Uint8Array | null,
  { transport, signatures }: Pick<DeliverDeps, 'signatures'> & Pick<Authenticated, 'transport'>,
): Record<string, FactValue> {
  const signed = delivered.countersignature
  const facts: Record<string, FactValue> = {
    status: delivered.status,
    'attested.response': signed === null ? attestorOf(transport) : 'callee',
  }
  if (digest !== null) facts['response.digest'] = digest
  if (signed !== null) {
    facts['response.signature'] = signed.signature
    facts['response.signature-base'] = signed.base
    const key = signatures.findPublicKey(signed.keyId)
    if (key !== null) facts['response.key'] = key
  }
  return facts
}
