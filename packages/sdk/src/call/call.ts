import { setTimeout as sleep } from 'node:timers/promises'
import { utf8 } from '@countersign/protocol'
import { readAll } from '../connection/body.ts'
import { findRefusal, type RefusedError } from '../connection/refused.ts'
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
  /** Read whole before it is sent, because its digest is signed; at most 10 MiB. */
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>
  /** Sent as `application/json`, in place of `body`. */
  readonly json?: unknown
  readonly signal?: AbortSignal
  /**
   * Waits for as long as this if policy requires an approval of this very call, and makes the call
   * again once it is approved. Without it, the RefusedError with the approval's id is thrown
   * at once.
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
  const body = await bodyOf(options, headers)
  const outgoing: OutgoingCall = {
    to,
    method: (options.method ?? (body === null ? 'GET' : 'POST')).toUpperCase(),
    path: options.path ?? '/',
    headers,
    body: body ?? new Uint8Array(0),
    signal: options.signal,
  }
  const until =
    monotonicOf(clock) + Math.min(options.approval?.waitMs ?? 0, LIMITS.approvalWaitMsMax)
  for (;;) {
    const made = await exchange(identity, outgoing, clock)
    const refusal = findRefusal(made.status, made.header)
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

async function bodyOf(options: CallOptions, headers: Headers): Promise<Uint8Array | null> {
  const { body, json } = options
  if (body !== undefined && json !== undefined) {
    throw new AgentError('REQUEST_MALFORMED', 'give either body or json')
  }
  if (json !== undefined) {
    if (!headers.has('content-type')) headers.set('content-type', 'application/json')
    return bounded(utf8(JSON.stringify(json)))
  }
  if (body === undefined) return null
  if (!headers.has('content-type')) {
    headers.set(
      'content-type',
      typeof body === 'string' ? 'text/plain' : 'application/octet-stream',
    )
  }
  if (typeof body === 'string') return bounded(utf8(body))
  if (body instanceof Uint8Array) return bounded(body)
  return readAll(body, LIMITS.bodyBytesMax, 'REQUEST_TOO_LARGE')
}

export function bounded(body: Uint8Array): Uint8Array {
  if (body.length <= LIMITS.bodyBytesMax) return body
  throw new AgentError('REQUEST_TOO_LARGE', `more than ${LIMITS.bodyBytesMax} bytes`)
}
