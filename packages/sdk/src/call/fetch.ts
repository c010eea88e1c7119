import { frameFormatOf } from '@countersign/protocol'
import { readAll } from '../connection/body.ts'
import { toWebStream } from '../connection/web-stream.ts'
import { type OutgoingFrames, streamOf } from '../frames/outgoing-frames.ts'
import type { Identity } from '../identity/identity.ts'
import type { Clock } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import { type Exchange, exchange, toHeaders } from './exchange.ts'
import { type Receipt } from './receipt.ts'
import { receiptOf } from './reply.ts'

/**
 * Host names under which every agent of the fabric can be addressed: `<name>.countersign.internal`.
 */
export const agentHostSuffix = '.countersign.internal'

type FetchInput = Parameters<typeof globalThis.fetch>[0]
type FetchInit = Parameters<typeof globalThis.fetch>[1]

/** `fetch` through the fabric, and the receipts of what it fetched. */
export interface AgentFetch {
  readonly fetch: typeof globalThis.fetch
  readonly receiptOf: (response: Response) => Promise<Receipt>
}

/** Statuses whose responses have no body, which `Response` insists on. */
const bodiless: ReadonlySet<number> = new Set([101, 204, 205, 304])

/**
 * A `fetch` that signs and goes through the fabric. Refusals come back as responses, as HTTP
 * clients expect: with the status, the problem or JSON-RPC error, and `Countersign-Refusal`.
 */
export function createFetch(identity: Identity, clock: Clock): AgentFetch {
  const exchanges = new WeakMap<Response, Exchange>()
  const agentFetch = async (input: FetchInput, init?: FetchInit): Promise<Response> => {
    const request = new Request(input, init)
    const target = targetOf(request.url, identity.url)
    const made = await exchange(
      identity,
      {
        ...target,
        method: request.method,
        headers: request.headers,
        body: await requestBody(request, init),
        signal: request.signal,
      },
      clock,
    )
    const response = toResponse(made, request)
    exchanges.set(response, made)
    return response
  }
  return {
    fetch: agentFetch,
    receiptOf(response) {
      const made = exchanges.get(response)
      if (made === undefined) {
        throw new AgentError('REQUEST_MALFORMED', 'this response did not come from this agent')
      }
      if (!made.proof().isFinished && !response.bodyUsed) {
        throw new AgentError('REQUEST_MALFORMED', 'read the body before asking for its receipt')
      }
      return receiptOf(made, identity)
    },
  }
}

function targetOf(url: string, fabricUrl: string): { to: string; path: string } {
  const { protocol, hostname, origin, pathname, search } = new URL(url)
  if (protocol === 'https:' && hostname.endsWith(agentHostSuffix)) {
    return { to: hostname.slice(0, -agentHostSuffix.length), path: `${pathname}${search}` }
  }
  const [, name, path] = /^\/agents\/([^/]+)(\/.*)?$/.exec(pathname) ?? []
  if (origin === fabricUrl && name !== undefined)
    return { to: name, path: `${path ?? '/'}${search}` }
  // A call to another origin would be neither authorized nor recorded.
  throw new AgentError(
    'REQUEST_MALFORMED',
    `${origin} is neither https://<name>${agentHostSuffix} nor ${fabricUrl}/agents/<name>/`,
  )
}

/** As `call`: pieces whose type has frames are a stream. Any other content is read whole. */
async function requestBody(
  request: Request,
  init: FetchInit,
): Promise<Uint8Array | OutgoingFrames> {
  const { body, headers, method } = request
  if (body === null) return new Uint8Array(0)
  const contentType = headers.get('content-type')
  const isStreamed = isPieces(init?.body) && frameFormatOf(contentType) !== null
  if (isStreamed) return streamOf(body, { method, contentType })
  return readAll(body, LIMITS.bodyBytesMax, 'REQUEST_TOO_LARGE')
}

function isPieces(body: unknown): boolean {
  const isBytes = ArrayBuffer.isView(body) || body instanceof FormData
  return typeof body === 'object' && body !== null && !isBytes && Symbol.asyncIterator in body
}

function toResponse(made: Exchange, request: Request): Response {
  const hasBody = !bodiless.has(made.status) && request.method !== 'HEAD'
  const init = { status: made.status, headers: toHeaders(made.headers) }
  const response = new Response(hasBody ? toWebStream(made.body, () => made.discard()) : null, init)
  Object.defineProperty(response, 'url', { value: request.url })
  if (!hasBody) drain(made)
  return response
}

/** An absent body still ends, and the receipt covers its end. */
function drain(made: Exchange): void {
  readAll(made.body, 0, 'ANSWER_MALFORMED').catch(() => made.discard())
}
