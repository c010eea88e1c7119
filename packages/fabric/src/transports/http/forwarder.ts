import { type Answer, readSignedResponse, type SignedResponse } from '@countersign/protocol'
import type { BodyBudget, BodyShare } from '../../budgets/body-budget.ts'
import { type CallerDeadline, createDeadline, type Deadline } from '../../budgets/deadline.ts'
import { Refusal, undecided } from '../../lib/refusal.ts'
import {
  EjectedError,
  evicted,
  OutOfSpaceError,
  RejectedError,
  UpstreamError,
  WithdrawnError,
} from '../../lib/upstream-error.ts'
import {
  type Delivered,
  declinedBy,
  type Forwarder,
  type StreamEvent,
  Undelivered,
  withheld,
} from '../../pipeline/delivery.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import { DECISION_FIELD, formatDecision } from '../../pipeline/forwarded-decision.ts'
import { accountOfAnswer } from '../../pipeline/large-bodies.ts'
import type { Intended } from '../../pipeline/record.ts'
import { type CardMediation, cardMediator } from '../../protocols/a2a/agent-card.ts'
import type { ReadKind } from '../../protocols/a2a/card-content.ts'
import {
  type ContentSource,
  cardRefusal,
  readContent,
  readEvent,
} from '../../protocols/answer-content.ts'
import { FrameReader } from '../../protocols/frame-reader.ts'
import { EventReader } from '../../protocols/http/sse.ts'
import { statedRefusal } from '../../protocols/http/stated-refusal.ts'
import { answeringCodec } from '../../protocols/request-streams.ts'
import type { Balancer } from '../../routes/balancer.ts'
import { isRepeatable } from '../../routes/repeatable.ts'
import { leadsTo, type Route, reliabilityOf } from '../../routes/routes.ts'
import type { BalancedResponse, UpstreamRequest, UpstreamResponse } from '../../routes/upstream.ts'
import { readBodyOf } from './answer-body.ts'
import { deadlinePassed, timeoutFields } from './caller-deadline.ts'
import { type Forwarded, type ForwardSigner, forwardedRequest } from './forward-signature.ts'
import { readResponseHead, readTrailers, withOwnSignature } from './response-head.ts'
import { hasUnknownEnd, unknownEndFact, unknownEndField } from './unknown-end.ts'

export interface CallForwarderOptions {
  readonly upstream: Balancer
  /** Null if the receiver could not distinguish our signature from that of another signer. */
  readonly signer: ForwardSigner | null
  readonly route: Route
  /** The route at this moment, asked before the first byte; absent where it cannot change. */
  readonly findRoute?: () => Route | null
  readonly receiverId: string
  readonly bodyBytesMax: number
  /** Until an answer begins, and until its end if it is not a stream. */
  readonly timeoutMs: number
  /** Maximum duration of a stream's events. */
  readonly streamMs: number
  readonly card: CardMediation
  /** Counts all bytes held from receivers. */
  readonly answers: BodyBudget
  readonly readKind: ReadKind
  /** Aborted when the caller leaves. */
  readonly signal: AbortSignal
  /** The caller's own bound; null or absent where it has given none. */
  readonly callerDeadline?: CallerDeadline | null
}

export interface CallForwarder {
  readonly carry: Forwarder
  /**
   * The held part of the answer is written now, or given up. A stream closes its account itself.
   */
  close(): void
}

/** Carries an exchange to an agent over HTTP: rebuilt from the parsed model, never raw. */
export function callForwarder(options: CallForwarderOptions): CallForwarder {
  let share: BodyShare | null = null
  const carry: Forwarder = async (exchange, still) => {
    const { received, caller } = exchange
    const { signer, receiverId } = options
    const admitted = options.answers.admit(options.route.name, caller.principal)
    if (admitted instanceof Refusal) return declinedBy(admitted)
    share = admitted
    const given = options.callerDeadline ?? null
    if (given?.leftMs() === 0) return declinedBy(deadlinePassed())
    const unable = signer?.fault() ?? null
    if (unable !== null) return declinedBy(undecided(unable))
    const forwarded = forwardedRequest(exchange, received, signer, receiverId)
    const { exchangeMs } = reliabilityOf(options.route).timeouts
    const { upload } = exchange
    // A streamed request takes as long as its caller, like a stream of events.
    const ownMs = upload === null ? Math.min(options.timeoutMs, exchangeMs) : options.streamMs
    const deadline = createDeadline(options.signal, ownMs, given)
    share.onEvicted((refusal) => deadline.fail(evicted(refusal)))
    upload?.onFailure((cause) => deadline.fail(cause))
    try {
      const response = await options.upstream.request(options.route, {
        ...leavingRequest(exchange, forwarded, options),
        ...streamOf(exchange),
        signal: deadline.signal,
        still,
        ...leading(options),
        owner: caller.principal,
        account: share,
      })
      const { attempts } = response
      // Without a certificate the header does not prove its sender; it does not pass.
      const stated = response.isProved ? statedRefusal(response, receiverId) : null
      const reading = { exchange, options, share, deadline }
      const delivered = stated ?? (await readResponse(response, forwarded, reading))
      if (delivered instanceof Undelivered) {
        response.discard()
        deadline.end()
        return delivered
      }
      if (delivered instanceof Refusal) {
        deadline.end()
        return withheld(delivered, attempts)
      }
      if (delivered.body instanceof Uint8Array) deadline.end()
      else deadline.allow(options.streamMs)
      if (attempts === 1) return delivered
      return { ...delivered, facts: { ...delivered.facts, attempts } }
    } catch (cause) {
      deadline.end()
      const silent = deadline.timedOut() ? 'no response in time: ' : ''
      return undelivered(cause, silent)
    }
  }
  return { carry, close: () => share?.close() }
}

function leavingRequest(
  exchange: Exchange<Intended>,
  { request }: Forwarded,
  { route, callerDeadline = null }: CallForwarderOptions,
): Omit<UpstreamRequest, 'signal' | 'account' | 'owner'> {
  const { forwardable, target } = exchange
  const headers = [...request.headers, ...decisionFields(exchange, route)]
  // As they leave: a key that inspection dropped does not keep the receiver from acting twice.
  const repeated = { ...target, headers: forwardable.headers }
  // A person approved of one action: a receiver that got it may have carried it out.
  const isSingle = exchange.approval !== null
  return {
    ...{ method: request.method, path: request.path, headers, body: forwardable.body },
    ...(callerDeadline === null
      ? {}
      : { headersOf: () => [...headers, ...timeoutFields(callerDeadline)] }),
    isSingle,
    isRepeatable: !isSingle && isRepeatable(repeated, reliabilityOf(route).retries),
  }
}

/** Messages of gRPC go over HTTP/2 alone: their status is in the trailers of the response. */
function streamOf({
  received,
  upload,
}: Exchange<Intended>): Pick<UpstreamRequest, 'stream' | 'isHttp2' | 'isRepeatable'> {
  if (upload === null) return {}
  const isHttp2 = received.frames?.codec.name === 'grpc'
  return { stream: upload.bytes, isHttp2, isRepeatable: false }
}

function leading({ route, findRoute }: CallForwarderOptions): Pick<UpstreamRequest, 'leadsTo'> {
  if (findRoute === undefined) return {}
  return { leadsTo: (endpoint) => leadsTo(findRoute(), route, endpoint) }
}

/** Only a connector, which decides again, receives the basis of the decision. */
function decisionFields(exchange: Exchange<Intended>, { endpoints }: Route): [string, string][] {
  const isAsked = endpoints.some(({ connector }) => connector === true)
  return isAsked ? [[DECISION_FIELD, formatDecision(exchange)]] : []
}

interface Reading {
  readonly exchange: Exchange<Intended>
  readonly options: CallForwarderOptions
  readonly share: BodyShare
  readonly deadline: Deadline
}

async function readResponse(
  response: BalancedResponse,
  forwarded: Forwarded,
  { exchange, options, share, deadline }: Reading,
): Promise<Delivered | Refusal> {
  const read = readResponseHead(response)
  if (read instanceof Refusal) return reject(response, read)
  const { status, contentType, isStream } = read
  const { request } = forwarded
  const signedHead = { response: { status, headers: read.headers }, request }
  const countersignature = readCountersignature(signedHead)
  if (countersignature instanceof Refusal) return reject(response, countersignature)
  const signed = countersignature === null ? {} : forwarded.facts
  const isEndUnknown = hasUnknownEnd(response)
  const facts = isEndUnknown ? { ...signed, ...unknownEndFact } : signed
  const passing = withOwnSignature(read.headers, countersignature)
  const headers = isEndUnknown ? [...passing, unknownEndField] : passing
  const head = { status, headers, contentType, countersignature, facts }
  const account = accountOfAnswer(exchange)
  const source = { readKind: options.readKind, route: options.route, account }
  const mediate = cardMediator(exchange.target.operation, status)
  const codec = exchange.upload === null ? null : answeringCodec(options.route, contentType)
  if (codec instanceof Refusal) return reject(response, codec)
  if (isStream || codec !== null) {
    if (mediate !== null) return reject(response, cardRefusal('in a stream'))
    const frameBytes = reliabilityOf(options.route).streams.frameBytes
    const events =
      codec === null
        ? new EventReader(response.body, share)
        : new FrameReader(response.body, share, codec.open(frameBytes))
    const body = cancellable(response, events, { share, deadline }, source)
    if (codec === null) return { ...head, body }
    return { ...head, body, codec, trailers: () => readTrailers(response.trailers?.() ?? []) }
  }
  const body = await readBodyOf(response, options.bodyBytesMax, share)
  if (body instanceof Refusal) return body
  if (mediate === null) {
    const kind = await readContent(body, contentType, source)
    return kind instanceof Refusal ? kind : { ...head, body }
  }
  const own = headers.filter(([name]) => name !== 'content-type')
  return {
    ...head,
    body,
    contentType: 'application/json',
    headers: [
      ...own,
      ['content-type', 'application/json'],
      ['cache-control', 'private, max-age=60'],
    ],
    rewrite: (card) => mediate(card, options.card),
  }
}

function readCountersignature(answer: Answer): SignedResponse | null | Refusal {
  try {
    return readSignedResponse(answer.response, answer.request)
  } catch (cause) {
    return new Refusal('COUNTERSIGNATURE_REJECTED', String(cause))
  }
}

function reject(response: UpstreamResponse, refusal: Refusal): Refusal {
  response.discard()
  return refusal
}

/**
 * Events of the response; to stop reading cancels the request (MCP 2026-07-28) or detaches (A2A).
 */
function cancellable(
  response: UpstreamResponse,
  events: EventReader | FrameReader,
  { share, deadline }: { readonly share: BodyShare; readonly deadline: Deadline },
  source: ContentSource,
): AsyncIterable<StreamEvent> {
  return {
    [Symbol.asyncIterator]() {
      share.onEvicted((refusal) => {
        deadline.fail(evicted(refusal))
        // A caller that reads slowly keeps nothing of it waiting.
        events.drop()
      })
      return {
        async next() {
          const next = await events.next()
          if (next.done === true) return next
          if (next.value.contentType === 'application/octet-stream') return next
          const kind = await readEvent(next.value, source)
          if (kind instanceof Refusal) throw new RejectedError(kind)
          return next
        },
        return: () => {
          response.discard()
          events.drop()
          share.close()
          deadline.end()
          return Promise.resolve({ done: true, value: undefined })
        },
      }
    },
  }
}

/** Every failure of a request, by how far the request came. */
export function undelivered(cause: unknown, context: string = ''): Undelivered {
  if (
    cause instanceof WithdrawnError ||
    cause instanceof OutOfSpaceError ||
    cause instanceof EjectedError
  ) {
    return declinedBy(cause.refusal)
  }
  if (!(cause instanceof UpstreamError)) {
    return new Undelivered({ progress: 'sent', detail: `${context}${String(cause)}` })
  }
  const { progress, attempts, message, limit, isStated } = cause
  const detail = `${context}${message}`
  if (progress === 'sent') return new Undelivered({ progress, detail, limit }, attempts)
  return new Undelivered({ progress, detail, limit, isStated }, attempts)
}
