import type { ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import { utf8 } from '@countersign/protocol'
import { breakOff, drained, hasUnsent, sendBytes } from '@countersign/protocol/tls'
import { type Refusal, StatedRefusal } from '../../lib/refusal.ts'
import type { StillPermitted, StreamEvent } from '../../pipeline/delivery.ts'
import type { FrameCodec } from '../../pipeline/frames.ts'
import { Interruption } from '../../pipeline/interruption.ts'
import type { InspectedEvents } from '../../pipeline/stream.ts'
import { formatEvent } from '../../protocols/http/sse.ts'

export type NodeResponse = ServerResponse | Http2ServerResponse

/** The reply of a transport, ready to be written. */
export interface Reply {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array | ReplyEvents
  /** The refusal that this reply states; absent from every other reply. */
  readonly refusal?: Refusal
  /** The request was not read to its end: the meaning of its next bytes is unknown. */
  readonly closes?: boolean
  /** The peer has spent its allowance: over HTTP/2 as well, no further request of it is read. */
  readonly endsConnection?: boolean
  /**
   * The body is one buffer for many: what of it is not written yet occupies no memory of its own.
   */
  readonly isShared?: boolean
  /**
   * Reports whether its caller may still have it, while a long body is on its way. Absent if the
   * answer is for everyone, and for events, which are decided one by one.
   */
  readonly still?: StillPermitted
  /** Called when the response has left, or will not. */
  release?(): void
}

export interface ReplyEvents {
  readonly events: InspectedEvents
  /** The last events of a stream that was cut, in the caller's own protocol. */
  terminalEventsFor(refusal: Refusal): readonly StreamEvent[]
  /**
   * Of other frames than events. A stream of them that is cut breaks off: no codec has a frame of
   * the fabric's own, and an orderly end would make it look whole.
   */
  readonly codec?: FrameCodec
}

/** Longer silence makes intermediaries and clients give a stream up. */
const keepAliveMs = 15_000
const keepAlive = utf8(': keep-alive\n\n')

/**
 * Writes a reply. For a stream it pulls one event at a time and waits for the socket to drain, so
 * a slow caller slows its receiver and never fills our memory; a caller that leaves ends the
 * stream, and with it the exchange.
 */
export async function writeReply(response: NodeResponse, reply: Reply): Promise<void> {
  const out = response as ServerResponse
  if (leavesUnparsed(reply)) closeAfter(response)
  if (reply.body instanceof Uint8Array) {
    writeHead(out, reply)
    if (!isOfAnother(out, reply)) out.setHeader('content-length', reply.body.length)
    const { still } = reply
    const isGood = still === undefined ? undefined : () => still() === null
    return sendBytes(response, reply.body, reply.isShared, isGood)
  }
  try {
    writeHead(out, reply)
    out.setHeader('cache-control', 'no-cache, no-transform')
    out.setHeader('x-accel-buffering', 'no')
    out.flushHeaders()
    // A caller that left before there was anything to write does not cause a second close event.
    if (!isClosed(out)) await writeEvents(out, reply.body)
  } finally {
    // Ends the exchange when the caller left first; one that has already ended ignores it.
    await reply.body.events.abandon()
  }
}

/**
 * Aborted when the caller leaves before its answer was written. An answered request closes as well;
 * an abort without a listener costs a stack trace.
 */
export function leavingSignal(response: NodeResponse): AbortSignal {
  const leaving = new AbortController()
  response.once('close', () => {
    if (!response.writableEnded) leaving.abort()
  })
  return leaving.signal
}

/**
 * More of the request may be on its way than is worth waiting for; not of one that reached its
 * receiver, which then states the refusal.
 */
function leavesUnparsed({ refusal, closes = false }: Reply): boolean {
  return closes || (refusal?.code === 'MESSAGE_TOO_LARGE' && !(refusal instanceof StatedRefusal))
}

function closeAfter(response: NodeResponse): void {
  if (!('stream' in response)) {
    response.setHeader('connection', 'close')
    return
  }
  // RFC 9113, section 8.1: a whole response may come before the end of the request.
  response.once('finish', () => response.stream.close())
}

function writeHead(out: ServerResponse, { status, headers }: Reply): void {
  out.statusCode = status
  for (const [name, value] of headers) out.setHeader(name, value)
}

/** Reports whether its length would be that of another body: the answer to GET, or a copy (304). */
function isOfAnother({ req }: ServerResponse, { status, body }: Reply): boolean {
  if (!(body instanceof Uint8Array) || body.length > 0) return false
  return status === 304 || req.method === 'HEAD'
}

/** A response of HTTP/2 does not show it; the stream below it does. */
function isClosed(out: ServerResponse): boolean {
  const { stream } = out as { readonly stream?: { readonly destroyed: boolean } }
  return stream?.destroyed ?? out.destroyed
}

async function writeEvents(
  out: ServerResponse,
  { events, terminalEventsFor, codec }: ReplyEvents,
): Promise<void> {
  const format = (event: StreamEvent) => codec?.format(event) ?? formatEvent(event)

  const gone = new Interruption<'gone'>()
  out.once('close', () => gone.come('gone'))
  const timer = setInterval(() => {
    // A peer that takes nothing gets nothing more to take.
    if (codec === undefined && !hasUnsent(out)) out.write(keepAlive)
  }, keepAliveMs)
  try {
    for (;;) {
      const next = await gone.or(events.next())
      if (next === 'gone' || isClosed(out)) break
      if (next.done === true) {
        if (codec !== undefined && next.value !== null) return await breakOff(out)
        const trailers = codec === undefined ? [] : (events.trailers?.() ?? [])
        if (trailers.length > 0) out.addTrailers(Object.fromEntries(trailers))
        for (const event of next.value === null ? [] : terminalEventsFor(next.value)) {
          out.write(formatEvent(event))
        }
        break
      }
      if (!out.write(format(next.value))) await drained(out)
    }
    out.end()
  } catch (cause) {
    await breakOff(out)
    throw cause
  } finally {
    clearInterval(timer)
  }
}
