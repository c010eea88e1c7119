import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import {
  createSignatureBase,
  createSignatureInput,
  formatContentDigest,
  formatSignedResponseHeaders,
  type HeaderList,
  plainMediaType,
  prepareResponseSignature,
  responseSignatureTag,
  type SignableRequest,
  utf8,
} from '@countersign/protocol'
import { sendBytes } from '@countersign/protocol/tls'
import { type Signer, signBytes } from '../identity/signing.ts'
import type { Clock } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import { sha256 } from '../lib/sha256.ts'

export interface Countersigning {
  /** The forwarded request, as it was verified: its whole Signature field is covered. */
  readonly request: SignableRequest
  readonly signer: Signer
  readonly clock: Clock
  readonly bodyBytesMax: number
  /** Null for the answer to a request that is one message. */
  readonly frames?: AnswerFrames | null
}

/** Counts a response that streams because the request that it answers does. */
export interface AnswerFrames {
  /** Returns whether a response of this type has frames; it then passes as it is written. */
  begin(contentType: string): boolean
  /** Returns `bytes`, which are on their way. */
  count(bytes: Uint8Array): Uint8Array
  end(): void
}

/** The signature fields of a whole response, its digest among them. */
export function signResponse(
  response: { readonly status: number; readonly headers: HeaderList; readonly body: Uint8Array },
  { request, signer, clock }: Countersigning,
): HeaderList {
  const digest = ['content-digest', formatContentDigest(sha256(response.body))] as const
  const signed = { status: response.status, headers: [...response.headers, digest] }
  const draft = { created: seconds(clock), keyId: signer.keyId }
  const { input, base } = prepareResponseSignature({ response: signed, request }, draft)
  return [digest, ...formatSignedResponseHeaders('callee', input, signBytes(signer, utf8(base)))]
}

/**
 * Returns the signature fields of the head of a stream. The digest does not exist yet; the
 * transcript of the forwarder attests what was streamed.
 */
export function signStreamHead(
  response: { readonly status: number; readonly headers: HeaderList },
  { request, signer, clock }: Countersigning,
): HeaderList {
  const input = createSignatureInput({
    components: ['"@status"', '"content-type"', '"signature";req'],
    created: seconds(clock),
    keyId: signer.keyId,
    tag: responseSignatureTag,
  })
  const base = createSignatureBase(input, { response, request })
  return formatSignedResponseHeaders('callee', input, signBytes(signer, utf8(base)))
}

function seconds(clock: Clock): number {
  return Math.floor(clock.now() / 1000)
}

type Callback = (error?: Error | null) => void

/**
 * Makes `response` countersign everything that any code writes to it, an application that knows
 * nothing of us included. Its bytes are held until it ends, because their digest stands in the
 * head; only events, and frames that answer a stream, pass on as they are written, behind a signed
 * head.
 *
 * The methods of this one object are replaced, not those of its prototype: frameworks set another
 * prototype and still find ours.
 */
export function countersignResponse(response: ServerResponse, rules: Countersigning): void {
  const real = {
    write: response.write.bind(response) as (chunk: Uint8Array, then?: Callback) => boolean,
    end: response.end.bind(response) as (then?: () => void) => ServerResponse,
    writeHead: response.writeHead.bind(response),
    flushHeaders: response.flushHeaders.bind(response),
  }
  const held: Uint8Array[] = []
  let heldBytes = 0
  let state: 'holding' | 'streaming' | 'ended' = 'holding'

  const stream = (): boolean => {
    if (state === 'streaming') return true
    if (state === 'ended') return false
    if (!passesAsWritten(response, rules)) return false
    state = 'streaming'
    if (!isPlain(response)) return true
    setAll(response, signStreamHead(headOf(response), rules))
    real.writeHead(response.statusCode)
    real.flushHeaders()
    return true
  }

  const overrides = {
    writeHead(status: number, ...rest: unknown[]): ServerResponse {
      takeHead(response, status, rest)
      stream()
      return response
    },
    flushHeaders(): void {
      stream()
    },
    write(chunk: unknown, encoding?: unknown, then?: Callback): boolean {
      const done = typeof encoding === 'function' ? (encoding as Callback) : then
      const bytes = toBytes(chunk, encoding)
      if (state === 'ended' || stream())
        return real.write(rules.frames?.count(bytes) ?? bytes, done)
      heldBytes += bytes.length
      if (heldBytes > rules.bodyBytesMax) {
        response.destroy(tooLarge(rules))
        return false
      }
      held.push(bytes.slice())
      if (done !== undefined) process.nextTick(done)
      return true
    },
    end(chunk?: unknown, encoding?: unknown, then?: () => void): ServerResponse {
      const done = [chunk, encoding, then].find((each) => typeof each === 'function')
      if (state === 'ended') return response
      if (chunk !== undefined && chunk !== null && typeof chunk !== 'function') {
        overrides.write(chunk, typeof encoding === 'string' ? encoding : undefined)
      }
      if (!response.destroyed && !stream() && isPlain(response)) {
        if (done !== undefined) response.once('finish', done as () => void)
        endWhole()
        return response
      }
      state = 'ended'
      rules.frames?.end()
      return real.end(done as (() => void) | undefined)
    },
    // Trailers are not covered by the countersignature, so they are not sent.
    addTrailers(): void {},
  }

  const endWhole = (): void => {
    const body = signWhole(response, held, rules)
    state = 'streaming'
    real.writeHead(response.statusCode)
    // Slice by slice, by the methods above, which pass everything on from now on.
    void sendBytes(response, body)
  }

  Object.assign(response, overrides)
}

/** A response that cannot be held cannot be signed, and half of it would look like all of it. */
function tooLarge({ bodyBytesMax }: Countersigning): AgentError {
  return new AgentError('ANSWER_TOO_LARGE', `more than ${bodyBytesMax} bytes`)
}

/** Signs the head of a response that is held whole; returns the body that follows it. */
function signWhole(
  response: ServerResponse,
  held: readonly Uint8Array[],
  rules: Countersigning,
): Uint8Array {
  const body = Buffer.concat(held)
  const { status, headers } = headOf(response)
  const isEmpty = status === 204 || status === 304
  // A body that stays unsent must stay unsigned: the receiver hashes the bytes that arrive.
  const sent = isEmpty || response.req.method === 'HEAD' ? new Uint8Array(0) : body
  setAll(response, signResponse({ status, headers, body: sent }, rules))
  response.removeHeader('transfer-encoding')
  if (!isEmpty) response.setHeader('content-length', body.length)
  return sent
}

function passesAsWritten(response: ServerResponse, { frames }: Countersigning): boolean {
  const contentType = String(response.getHeader('content-type') ?? '')
  return /^text\/event-stream\s*(?:;|$)/i.test(contentType) || frames?.begin(contentType) === true
}

/**
 * A response that cannot be inspected must not leave; breaking it off is the only way to report
 * that.
 */
function isPlain(response: ServerResponse): boolean {
  const encoding = response.getHeader('content-encoding') ?? 'identity'
  if (encoding === 'identity') return true
  response.destroy()
  return false
}

/** `writeHead(status[, message][, headers])`, where headers are an object or a flat list. */
function takeHead(response: ServerResponse, status: number, rest: readonly unknown[]): void {
  response.statusCode = status
  const [first, second] = rest
  const headers = typeof first === 'string' ? second : first
  if (Array.isArray(headers)) {
    const flat = headers.flat() as string[]
    for (let at = 0; at + 1 < flat.length; at += 2) {
      response.appendHeader(flat[at] ?? '', flat[at + 1] ?? '')
    }
  } else if (typeof headers === 'object' && headers !== null) {
    for (const [name, value] of Object.entries(headers as OutgoingHttpHeaders)) {
      if (value !== undefined) response.setHeader(name, value)
    }
  }
}

/** The head as it will be sent. Fields that only we may set are removed first. */
function headOf(response: ServerResponse): { status: number; headers: HeaderList } {
  for (const name of ['content-digest', 'signature', 'signature-input', 'trailer']) {
    response.removeHeader(name)
  }
  // The fabric hands on this form alone, and the signature covers the field.
  const type = response.getHeader('content-type')
  if (typeof type === 'string') response.setHeader('content-type', plainMediaType(type))
  const headers: [string, string][] = []
  for (const name of response.getHeaderNames()) {
    for (const value of valuesOf(response.getHeader(name))) headers.push([name, value])
  }
  return { status: response.statusCode, headers }
}

function valuesOf(value: OutgoingHttpHeader | undefined): readonly string[] {
  if (value === undefined) return []
  return Array.isArray(value) ? value : [String(value)]
}

function setAll(response: ServerResponse, headers: HeaderList): void {
  for (const [name, value] of headers) response.setHeader(name, value)
}

function toBytes(chunk: unknown, encoding: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk
  if (typeof chunk !== 'string') throw new TypeError('a body is text or bytes')
  return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
}
