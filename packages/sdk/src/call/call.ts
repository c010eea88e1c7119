import { setTimeout as sleep } from 'node:timers/promises'
import { utf8 } from '@countersign/protocol'
import { readAll } from '../connection/body.ts'
import { findRefusal, type RefusedError } from '../connection/refused.ts'
import { type BodyPieces, streamOf, toLines } from '../frames/outgoing-frames.ts'
import type { Identity } from '../identity/identity.ts'
import { type Clock, monotonicOf } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import { exchange, type OutgoingCall } from './exchange.ts'
import { Reply } from './reply.ts'

export interface CallOptions {
  /** POST with content, GET without, unless stated otherwise. */
  readonly method?: string
  /** Path and query at the receiver, percent-encoded; `/` unless stated otherwise. */
  readonly path?: string
  readonly headers?: ConstructorParameters<typeof Headers>[0]
  /**
   * Text and bytes are one message, whose digest is signed; at most 10 MiB. Pieces, such as a
   * `ReadableStream`, are a streamed request: JSON lines or blocks of bytes by their content type,
   * `application/octet-stream` unless stated otherwise. They are read once, at the pace at which
   * they are sent, and never sent again. The route of the receiver has to permit it.
   */
  readonly body?: string | Uint8Array | BodyPieces
  /** Sent as `application/json`, in place of `body`. */
  readonly json?: unknown
  /** Sent as a streamed request, one JSON line (`application/x-ndjson`) for each value. */
  readonly ndjson?: AsyncIterable<unknown> | Iterable<unknown>
  /**
   * `streams.frameBytes` of the receiver's route, where it is less than 64 KiB: octets are cut into
   * blocks of this size, and would otherwise not be those of the receipt. 1,024 to 4,194,304;
   * throws REQUEST_MALFORMED for any other.
   */
  readonly frameBytes?: number
  readonly signal?: AbortSignal
  /**
   * Milliseconds until the end of the answer, from the first byte that is sent; 1 to 99,999,999.
   * The fabric receives them, and stops when they have passed, with a refusal that states whether
   * the receiver may have acted. Throws CALL_TIMED_OUT a second later.
   */
  readonly timeoutMs?: number
  /**
   * Waits for as long as this if policy requires an approval of this very call, and makes the call
   * again once it is approved. Without it, the RefusedError with the approval's id is thrown
   * at once, as it is for a streamed request, whose body cannot be read again.
   */
  readonly approval?: { readonly waitMs: number }
}

/** Signs, sends, and gives the reply; throws the RefusedError of a refusal. */
export async function call(
  identity: Identity,
  to: string,
  { options, clock }: { options: CallOptions; clock: Clock },
): Promise<Reply> {
  const headers = new Headers(options.headers)
  const content = contentOf(options, headers)
  const method = (options.method ?? (content === null ? 'GET' : 'POST')).toUpperCase()
  const isStreamed = content !== null && !(content instanceof Uint8Array)
  const outgoing: OutgoingCall = {
    ...{ to, method, headers, signal: options.signal, timeoutMs: options.timeoutMs },
    path: options.path ?? '/',
    body: isStreamed
      ? streamOf(content, {
          ...{ method, contentType: headers.get('content-type') },
          frameBytes: options.frameBytes,
        })
      : (content ?? new Uint8Array(0)),
  }
  const approvalMs = isStreamed ? 0 : (options.approval?.waitMs ?? 0)
  const until = monotonicOf(clock) + Math.min(approvalMs, LIMITS.approvalWaitMsMax)
  for (;;) {
    const made = await exchange(identity, outgoing, clock)
    const refusal = findRefusal(made.status, made.header, { isStreamed })
    if (refusal === null) return new Reply(made, identity)
    // A refusal is short; read to its end, it leaves the connection fit for the next call.
    await readAll(made.body, LIMITS.controlBytesMax, 'ANSWER_TOO_LARGE').catch(() => made.discard())
    const waitMs = repeatAfter(refusal, until - monotonicOf(clock))
    if (waitMs === null) throw refusal
    await sleep(waitMs, undefined, options.signal === undefined ? {} : { signal: options.signal })
  }
}

/**
 * Milliseconds after which a call that waits for an approval is made again; null if it is not. Only
 * a refusal of the fabric means that nothing was delivered.
 */
function repeatAfter(refusal: RefusedError, leftMs: number): number | null {
  if (refusal.code !== 'APPROVAL_PENDING' || !refusal.retry || leftMs <= 0) return null
  const asked = refusal.retryAfterMs ?? LIMITS.approvalPollMsMin
  return Math.min(Math.max(asked, LIMITS.approvalPollMsMin), leftMs)
}

/** Sets the content type where the author of the call has not. */
function contentOf(
  { body, json, ndjson }: CallOptions,
  headers: Headers,
): Uint8Array | BodyPieces | null {
  if ([body, json, ndjson].filter((given) => given !== undefined).length > 1) {
    throw new AgentError('REQUEST_MALFORMED', 'give one of body, json and ndjson')
  }
  const typed = <Content>(type: string, content: Content): Content => {
    if (!headers.has('content-type')) headers.set('content-type', type)
    return content
  }
  if (json !== undefined) return typed('application/json', bounded(utf8(JSON.stringify(json))))
  if (ndjson !== undefined) return typed('application/x-ndjson', toLines(ndjson))
  if (body === undefined) return null
  if (typeof body === 'string') return typed('text/plain', bounded(utf8(body)))
  return typed('application/octet-stream', body instanceof Uint8Array ? bounded(body) : body)
}

export function bounded(body: Uint8Array): Uint8Array {
  if (body.length <= LIMITS.bodyBytesMax) return body
  throw new AgentError('REQUEST_TOO_LARGE', `more than ${LIMITS.bodyBytesMax} bytes`)
}
