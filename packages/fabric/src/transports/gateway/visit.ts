import { type DecisionId, utf8 } from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import type { Arrival, Target } from '../../pipeline/arrival.ts'
import { refusalReply } from '../http/call.ts'
import type { Incoming } from '../http/incoming.ts'
import type { Reply } from '../http/respond.ts'
import { GATEWAY_WIRE } from './wire.ts'

/** One request at the gateway, on its way through the surface that its path belongs to. */
export interface Visit {
  readonly exchange: DecisionId
  readonly at: number
  readonly incoming: Incoming
  /** Path without query, and the query. */
  readonly path: string
  readonly query: URLSearchParams
  /** Aborted when the caller leaves. */
  readonly signal: AbortSignal
}

/** Answers the requests below one path prefix. */
export type Surface = (visit: Visit) => Promise<Reply>

/** The one integer of this name in the query; null where it has none. Nothing else is taken for one. */
export function integerIn({ query }: Pick<Visit, 'query'>, name: string): number | null | Refusal {
  const [text, ...others] = query.getAll(name)
  if (text === undefined) return null
  if (others.length > 0 || !/^-?\d{1,15}$/.test(text)) {
    return new Refusal('MESSAGE_MALFORMED', `the query holds no single integer ${name}`)
  }
  return Number(text)
}

/** An arrival for the fabric itself or for a channel. */
export function arrivalOf(
  visit: Visit,
  target: Omit<Target, 'labels'> & { readonly labels?: readonly string[] },
  fault: Refusal | null = null,
): Arrival {
  const { head, presented, signature, body, refused } = visit.incoming
  return {
    exchange: visit.exchange,
    at: visit.at,
    transport: target.kind === 'channel' ? 'queue' : 'gateway',
    presented,
    refused,
    fault: visit.incoming.fault ?? fault,
    signature,
    target: { labels: [], ...target },
    message: {
      method: head.method,
      path: head.path,
      headers: [],
      contentType: head.headers.get('content-type') ?? '',
      body,
    },
  }
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
