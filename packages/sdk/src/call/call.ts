import { utf8 } from '@countersign/protocol'
import { readAll } from '../connection/body.ts'
import { findRefusal } from '../connection/refused.ts'
import type { Identity } from '../identity/identity.ts'
import type { Clock } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import { exchange } from './exchange.ts'
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
}

/** Signs, sends, and gives the reply; throws the RefusedError of a refusal. */
export async function call(
  identity: Identity,
  to: string,
  { options, clock }: { options: CallOptions; clock: Clock },
): Promise<Reply> {
  const headers = new Headers(options.headers)
  const body = await bodyOf(options, headers)
  const method = (options.method ?? (body === null ? 'GET' : 'POST')).toUpperCase()
  const made = await exchange(
    identity,
    {
      to,
      method,
      path: options.path ?? '/',
      headers,
      body: body ?? new Uint8Array(0),
      signal: options.signal,
    },
    clock,
  )
  const refusal = findRefusal(made.status, made.header)
  if (refusal === null) return new Reply(made, identity)
  // A refusal is short; read to its end, it leaves the connection fit for the next call.
  await readAll(made.body, LIMITS.controlBytesMax, 'ANSWER_TOO_LARGE').catch(() => made.discard())
  throw refusal
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
