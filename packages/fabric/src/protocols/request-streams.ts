import { parseMediaType, streamedBody, streamedMethods } from '@countersign/protocol'
import { Refusal } from '../lib/refusal.ts'
import { charsetFor } from '../pipeline/answer-text.ts'
import type { FrameCodec } from '../pipeline/frames.ts'
import { type Route, reliabilityOf } from '../routes/routes.ts'
import { codecOf } from './frame-codecs.ts'
import type { Head } from './reading/head.ts'

/**
 * The codec of a request that is not to be read whole, by its head alone; null for every other
 * request. Only a route that permits it has any, and never one of A2A or MCP: a frame is not
 * classified, so that no policy would decide on a call in it.
 */
export function streamedCodec(
  route: Route | null,
  { method, headers }: Head,
): FrameCodec | null | Refusal {
  const codec = route === null ? null : permittedCodec(route, { method, headers })
  if (route === null || codec === null) return null
  if (route.protocol !== 'http') {
    const detail = `a streamed request needs a route of the protocol http, not ${route.protocol}`
    return new Refusal('CONTENT_UNSUPPORTED', detail)
  }
  return isInUtf8(headers.get('content-type')) ? codec : notInUtf8('CONTENT_UNSUPPORTED')
}

/** As JSON of a whole body: the head passes on with its charset, and its reader goes by that. */
function isInUtf8(contentType: string | undefined): boolean {
  return charsetFor('json', parseMediaType(contentType ?? '')?.charset) !== null
}

function notInUtf8(code: 'CONTENT_UNSUPPORTED' | 'RESPONSE_REJECTED'): Refusal {
  return new Refusal(code, 'frames are inspected in UTF-8, and in no other charset')
}

/**
 * The codec of a request of the gateway, which has decided whether it is a stream and states so;
 * null for one that is whole.
 */
export function forwardedCodec({ headers }: Pick<Head, 'headers'>): FrameCodec | null | Refusal {
  const [field, value] = streamedBody
  if (headers.get(field) !== value) return null
  const contentType = headers.get('content-type')
  const codec = codecOf(contentType)
  return codec !== null && isInUtf8(contentType) ? codec : notInUtf8('CONTENT_UNSUPPORTED')
}

/**
 * The refusal of a request that its sender signed as a stream, where `streamedCodec` has given
 * null: read whole, it would be refused for its signature, which states nothing about the reason.
 * Null where the route carries streams, and the head is not that of one.
 */
export function unroutedStream(route: Route | null): Refusal | null {
  if (route === null) return new Refusal('RECEIVER_UNREACHABLE', 'the receiver has no endpoint')
  if (permitsRequests(route)) return null
  const detail = 'the route permits no streamed request: set its streams.permit to request or both'
  return new Refusal('CONTENT_UNSUPPORTED', detail)
}

function permittedCodec(
  route: Pick<Route, 'reliability'>,
  { method, headers }: Pick<Head, 'method' | 'headers'>,
): FrameCodec | null {
  if (!permitsRequests(route) || !streamedMethods.has(method)) return null
  return headers.get('content-length') === '0' ? null : codecOf(headers.get('content-type'))
}

/** The codec of the response to a streamed request; null for one that is whole, or of events. */
export function answeringCodec(route: Route, contentType: string): FrameCodec | null | Refusal {
  const isStreamed = reliabilityOf(route).streams.permit === 'both'
  const codec = isStreamed ? codecOf(contentType) : null
  return codec === null || isInUtf8(contentType) ? codec : notInUtf8('RESPONSE_REJECTED')
}

function permitsRequests(route: Pick<Route, 'reliability'>): boolean {
  return reliabilityOf(route).streams.permit !== 'response'
}
