import { type Answer, readSignedResponse, type SignedResponse } from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import { UpstreamError, WithdrawnError } from '../../lib/upstream-error.ts'
import type { Courier, Delivered, StreamEvent } from '../../pipeline/delivery.ts'
import type { Intended } from '../../pipeline/record.ts'
import type { CardMediation } from './agent-card.ts'
import { cardMediator } from './agent-card.ts'
import { readBodyOf } from './arriving-bytes.ts'
import { type Balancer, sessionIdLengthMax } from './balancer.ts'
import { type Forwarded, type ForwardSigner, forwardedRequest } from './forward-signature.ts'
import { createPatience } from './patience.ts'
import type { Route } from './routes.ts'
import { parseEvents } from './sse.ts'
import type { UpstreamResponse } from './upstream.ts'

export interface CallCourierOptions {
  readonly upstream: Balancer
  /** Null where the receiver could not tell our signature from anybody's. */
  readonly signer: ForwardSigner | null
  readonly route: Route
  readonly receiverId: string
  readonly bodyBytesMax: number
  /** Until an answer begins, and all of it when it is no stream. */
  readonly timeoutMs: number
  /** How long the events of a stream may go on. */
  readonly streamMs: number
  readonly card: CardMediation
  /** Aborted when the caller leaves. */
  readonly signal: AbortSignal
}

/** What a receiver may say to a caller; everything else stays behind. */
const returnedNames: ReadonlySet<string> = new Set([
  'a2a-extensions',
  'a2a-version',
  'allow',
  'content-language',
  'content-type',
  'content-digest',
  'etag',
  'last-modified',
  'mcp-protocol-version',
  'mcp-session-id',
  'retry-after',
  'signature',
  'signature-input',
  'vary',
])

/** Carries an exchange to an agent over HTTP: rebuilt from the parsed model, never raw. */
export function callCourier(options: CallCourierOptions): Courier {
  return async (intended, still) => {
    const { arrival } = intended.inspected.authorized.authenticated
    const { signer, receiverId } = options
    const forwarded = forwardedRequest(intended, arrival.message, signer, receiverId)
    const patience = createPatience(options.signal, options.timeoutMs)
    try {
      const response = await options.upstream.request(options.route, {
        ...forwarded.request,
        body: intended.inspected.body,
        signal: patience.signal,
        still,
      })
      const delivered = await readResponse(response, forwarded, intended, options)
      if (delivered instanceof Refusal || delivered.body instanceof Uint8Array) patience.end()
      else patience.allow(options.streamMs)
      return delivered
    } catch (cause) {
      patience.end()
      return toRefusal(cause, patience.timedOut())
    }
  }
}

async function readResponse(
  response: UpstreamResponse,
  forwarded: Forwarded,
  intended: Intended,
  options: CallCourierOptions,
): Promise<Delivered | Refusal> {
  const headers = readHeaders(response)
  if (headers instanceof Refusal) return reject(response, headers)
  if (response.status >= 300 && response.status < 400 && response.status !== 304) {
    return reject(response, new Refusal('RESPONSE_REJECTED', 'a redirect leads past the fabric'))
  }
  const { request } = forwarded
  const countersignature = readCountersignature({ response: { ...response, headers }, request })
  if (countersignature instanceof Refusal) return reject(response, countersignature)
  const contentType = headers.find(([name]) => name === 'content-type')?.[1] ?? ''
  const facts = countersignature === null ? {} : forwarded.facts
  const head = { status: response.status, headers, contentType, countersignature, facts }
  const { target } = intended.inspected.authorized.authenticated.arrival
  const mediate = cardMediator(target.operation, response.status)
  if (contentType.toLowerCase().startsWith('text/event-stream')) {
    const unread = new Refusal(
      'RESPONSE_REJECTED',
      'an agent card in a stream leads past the fabric',
    )
    return mediate === null ? { ...head, body: cancellable(response) } : reject(response, unread)
  }
  const body = await readBodyOf(response, options.bodyBytesMax)
  if (body === null) {
    return new Refusal('RESPONSE_REJECTED', `it exceeds ${options.bodyBytesMax} bytes`)
  }
  if (mediate !== null) {
    return {
      ...head,
      body,
      contentType: 'application/json',
      headers: [...headers, ['cache-control', 'private, max-age=60']],
      rewrite: (card) => mediate(card, options.card),
    }
  }
  return { ...head, body }
}

function readHeaders(response: UpstreamResponse): [string, string][] | Refusal {
  const headers: [string, string][] = []
  for (const [given, value] of response.headers) {
    const name = given.toLowerCase()
    if (name === 'content-encoding' && value !== 'identity') {
      return new Refusal('RESPONSE_REJECTED', `content-encoding ${value} was not asked for`)
    }
    if (!returnedNames.has(name)) continue
    if (headers.some(([known]) => known === name)) {
      return new Refusal('RESPONSE_REJECTED', `the response repeats ${name}`)
    }
    // RFC 9110, section 5.5. Node would refuse to send it on, when the outcome is already on record.
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) {
      return new Refusal('RESPONSE_REJECTED', `${name} has a character that no field may have`)
    }
    if (name === 'mcp-session-id' && value.length > sessionIdLengthMax) {
      return new Refusal('RESPONSE_REJECTED', `a session id of ${value.length} characters`)
    }
    headers.push([name, value])
  }
  return headers
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

/** Events of the response; to stop reading cancels the request (MCP 2026-07-28) or detaches (A2A). */
function cancellable(response: UpstreamResponse): AsyncIterable<StreamEvent> {
  return {
    [Symbol.asyncIterator]() {
      const events = parseEvents(response.body)
      return {
        next: () => events.next(),
        return: () => {
          response.discard()
          return Promise.resolve({ done: true, value: undefined })
        },
      }
    },
  }
}

/**
 * Only a receiver that cannot have seen the request is a refusal; any other break is thrown, and
 * recorded as what it is: nobody knows whether the receiver acted.
 */
function toRefusal(cause: unknown, timedOut: boolean): Refusal {
  if (timedOut) return new Refusal('RECEIVER_TIMED_OUT', 'no answer within the limit')
  if (cause instanceof WithdrawnError) return cause.refusal
  if (cause instanceof UpstreamError) {
    if (cause.timedOut) return new Refusal('RECEIVER_TIMED_OUT', cause.message)
    if (cause.unsent) return new Refusal('RECEIVER_UNREACHABLE', cause.message)
  }
  throw cause
}
