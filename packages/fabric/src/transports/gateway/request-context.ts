import { type ExchangeId, utf8 } from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import {
  createUncheckedRequest,
  type DecodedTarget,
  type UncheckedRequest,
} from '../../pipeline/unchecked-request.ts'
import { refusalReply } from '../http/call.ts'
import type { PathMatch } from '../http/path-routes.ts'
import { headIn, type ReceivedRequest } from '../http/received-request.ts'
import type { Reply } from '../http/respond.ts'
import { GATEWAY_WIRE } from './wire.ts'

/** One request at the gateway, as its route handler receives it. */
export interface RequestContext {
  readonly exchange: ExchangeId
  readonly at: number
  readonly received: ReceivedRequest
  /** Path without query, and the query. */
  readonly path: string
  readonly query: URLSearchParams
  /** The segments of the path that its route names, and what follows them; see `PathMatch`. */
  readonly segments: PathMatch<unknown>['segments']
  readonly rest: string
  /** Aborted when the caller leaves. */
  readonly signal: AbortSignal
}

/** Answers the requests of one route. */
export type Router = (context: RequestContext) => Promise<Reply>

/**
 * The one integer of this name in the query; null where it has none. Nothing else is taken for one.
 */
export function integerIn(
  { query }: Pick<RequestContext, 'query'>,
  name: string,
): number | null | Refusal {
  const [text, ...others] = query.getAll(name)
  if (text === undefined) return null
  if (others.length > 0 || !/^-?\d{1,15}$/.test(text)) {
    return new Refusal('MESSAGE_MALFORMED', `the query holds no single integer ${name}`)
  }
  return Number(text)
}

/** The unchecked request for the fabric itself or for a channel. */
export function decodedRequest(
  context: RequestContext,
  target: DecodedTarget,
  fault: Refusal | null = null,
): UncheckedRequest {
  const { head, presented, signature, body } = context.received
  return createUncheckedRequest({
    id: context.exchange,
    at: context.at,
    transport: target.kind === 'channel' ? 'queue' : 'gateway',
    presented,
    head: headIn(context.received),
    fault: context.received.fault ?? fault,
    signature,
    target,
    received: {
      method: head.method,
      path: head.path,
      headers: [],
      contentType: head.headers.get('content-type') ?? '',
      body,
    },
  })
}

export function problemReply(refusal: Refusal, exchange: string): Reply {
  return refusalReply(refusal, { exchange, wireOf: ({ code }) => GATEWAY_WIRE[code] })
}

export function jsonReply(value: unknown, headers: Reply['headers'] = []): Reply {
  return jsonBytesReply(utf8(JSON.stringify(value)), headers)
}

export function jsonBytesReply(body: Uint8Array, headers: Reply['headers'] = []): Reply {
  return {
    status: 200,
    headers: [['content-type', 'application/json'], ['cache-control', 'no-store'], ...headers],
    body,
  }
}
