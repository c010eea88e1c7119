import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { readSignedRequest, type SignableRequest } from '@countersign/protocol'
import { peerChain, tlsSocketOf } from '@countersign/protocol/tls'
import type { Admission } from '../../budgets/admission.ts'
import { bodyOverheadBytes } from '../../budgets/body-budget.ts'
import type { Presented } from '../../identity/caller.ts'
import { networkOf } from '../../lib/limits.ts'
import { type Maybe, Refusal } from '../../lib/refusal.ts'
import type { AdmittedHead } from '../../pipeline/admit.ts'
import type { Identified } from '../../pipeline/authenticate.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import type { RequestFrames } from '../../pipeline/frames.ts'
import type { PresentedSignature, UncheckedRequest } from '../../pipeline/unchecked-request.ts'
import { type Head, readHead } from '../../protocols/reading/head.ts'
import type { ArrivingBody } from './arriving-body.ts'
import { ArrivingFrames, type StreamedRequest } from './request-frames.ts'
import { keepReading } from './streaming-connections.ts'

export type NodeRequest = IncomingMessage | Http2ServerRequest

/** One request, parsed once and bounded. */
export interface ReceivedRequest {
  readonly head: Head
  readonly presented: Presented
  readonly signature: PresentedSignature | null
  /** Empty if `refused` or `fault` is set: it was not read. */
  readonly body: Uint8Array
  /** Of a streamed request, whose first frame is the body; absent from any other. */
  readonly frames?: RequestFrames
  /** The reason why the head does not identify a sender; the body was not read. */
  readonly refused: Refusal | null
  /** Null if `refused`, and of a request that the fabric's own gateway forwarded. */
  readonly identified: Exchange<Identified> | null
  /** The reason why an identified sender's body was not read to its end. */
  readonly fault: Refusal | null
  /** True where `fault` discloses the route: it is for a sender that policy permits to call it. */
  readonly isFaultOfRoute?: true
  /** The account that its body is counted under; empty when `refused`. */
  readonly client: string
  /**
   * Another limit counts the request from here on, such as `limits.openExchanges`. Its account
   * keeps its body and its head.
   */
  begun(): void
  /** Ends the account of the body; to be called when the exchange has ended. */
  release(): void
}

/** Reports whether a request was refused before its body was read to its end. */
export const isUnparsed = (received: ReceivedRequest | Refusal): boolean =>
  received instanceof Refusal || received.refused !== null || received.fault !== null

/** Returns the result of the head step. */
export const headIn = ({ refused, identified }: ReceivedRequest): UncheckedRequest['head'] =>
  refused ?? identified

/** Reports whether more of the request may come after its first frame. */
export const hasFrames = (received: ReceivedRequest | Refusal): boolean =>
  !(received instanceof Refusal) && received.frames !== undefined

/** A head that was read, and nothing else of its request. */
export interface JudgedHead {
  readonly head: Head
  readonly presented: Presented
}

/** The permission to read the body, and whom the head has identified; null for an open route. */
export type HeadAdmission = Pick<AdmittedHead<Admission>, 'reserved'> & {
  readonly identified: Exchange<Identified> | null
}

export interface Reading {
  /** Identifies the sender from its head. Nothing else makes the admission that the body needs. */
  admit(judged: JudgedHead): Maybe<HeadAdmission>
  /** Refuses an identified sender's request for its head, before the body is read. */
  faultOf?(judged: JudgedHead): Refusal | null
  /**
   * The codec of a request that is not to be read whole; null for any other. A refusal is one of
   * the route. The signature has not been verified.
   */
  streamOf?(head: Head, signature: PresentedSignature | null): StreamedRequest | null | Refusal
  /** Of the listener, which a request of HTTP/2 states. HTTPS unless given. */
  readonly scheme?: 'http' | 'https'
  /** Gives what the peer put forward; by default its certificate, token and API key. */
  readonly present?: (request: NodeRequest, head: Head) => Presented | Refusal
}

/**
 * Reads a request: first its head, then, once the head has identified its sender, its body. Gives a
 * refusal when the head itself cannot be read.
 */
export async function receiveRequest(
  request: NodeRequest,
  body: ArrivingBody,
  { admit, faultOf, streamOf, scheme = 'https', present = readPresented }: Reading,
): Promise<ReceivedRequest | Refusal> {
  const head = readHead({
    method: request.method ?? '',
    url: request.url ?? '',
    rawHeaders: request.rawHeaders,
    authority: 'authority' in request ? request.authority : '',
    httpVersion: request.httpVersion,
  })
  if (head instanceof Refusal) return head
  if ('scheme' in request && request.scheme !== scheme) {
    return new Refusal('MESSAGE_MALFORMED', `the scheme of the request is another than ${scheme}`)
  }
  const presented = present(request, head)
  if (presented instanceof Refusal) return presented
  const unparsed = { head, presented, signature: null, body: new Uint8Array(0), fault: null }
  const given = admit({ head, presented })
  const admitted = given instanceof Promise ? await given : given
  if (admitted instanceof Refusal) {
    const unread = { refused: admitted, identified: null, client: '' }
    return { ...unparsed, ...unread, begun: () => {}, release: () => {} }
  }
  const { reserved: admission, identified } = admitted
  const client = admission.share.identity
  const begun = countHead(request, admission)
  const release = (): void => admission.share.close()
  try {
    const read = { ...unparsed, refused: null, identified, client, begun, release }
    const refusedRead = (fault: Refusal): ReceivedRequest => ({ ...read, fault })
    const fault = faultOf?.({ head, presented }) ?? null
    if (fault !== null) return refusedRead(fault)
    const signature = readSignature(head)
    if (signature instanceof Refusal) return refusedRead(signature)
    const streamed = streamOf?.(head, signature) ?? null
    if (streamed instanceof Refusal) return { ...refusedRead(streamed), isFaultOfRoute: true }
    if (streamed !== null) {
      // Its connection is not given up because it takes longer than a request that is read whole.
      keepReading(request)
      const frames = await ArrivingFrames.open(body, head, admission, streamed)
      if (frames instanceof Refusal) return refusedRead(frames)
      if (frames === null) return { ...read, signature }
      const ended = (): void => {
        // Refused before its intent, nothing else stops it.
        frames.stop()
        release()
      }
      // It stays open, so that what is counted for its wait stays counted.
      const rest = { ...read, signature, frames, begun: () => undefined, release: ended }
      return Object.defineProperty(rest, 'body', { get: () => frames.firstBytes })
    }
    const whole = await body.read(admission, head)
    return whole instanceof Refusal ? refusedRead(whole) : { ...read, signature, body: whole }
  } catch (cause) {
    release()
    throw cause
  }
}

/**
 * Counts what the request occupies without its body; the function gives back what is for its wait.
 */
function countHead(request: NodeRequest, { share, waitingBytes }: Admission): () => void {
  // It is held as long as the body, and may be eight times as large as what each request counts
  // for.
  const heldBytes = Math.max(bodyOverheadBytes, headBytesOf(request))
  let forWait = Math.max(0, waitingBytes - heldBytes)
  share.take(heldBytes - bodyOverheadBytes + forWait)
  return () => {
    share.give(forWait)
    forWait = 0
  }
}

function headBytesOf({ url = '', rawHeaders }: NodeRequest): number {
  let bytes = url.length
  for (const text of rawHeaders) bytes += text.length
  return bytes
}

function readPresented(request: NodeRequest, head: Head): Presented | Refusal {
  const bearer = bearerIn(head)
  if (bearer instanceof Refusal) return bearer
  const socket = tlsSocketOf(request)
  return {
    certificateChain: peerChain(socket),
    bearer,
    apiKey: head.headers.get('x-api-key') ?? null,
    network: networkOf(socket?.remoteAddress ?? ''),
  }
}

/** Reads the token of `Authorization: Bearer` (RFC 6750); null where the field is absent. */
export function bearerIn({ headers }: Head): string | null | Refusal {
  const authorization = headers.get('authorization')
  if (authorization === undefined) return null
  const [, bearer] = /^Bearer ([A-Za-z0-9._~+/=-]{1,8192})$/i.exec(authorization) ?? []
  return (
    bearer ?? new Refusal('CREDENTIAL_REJECTED', 'Authorization is not a Bearer token (RFC 6750)')
  )
}

function readSignature(head: Head): PresentedSignature | null | Refusal {
  const { method, path, authority } = head
  if (!head.headers.has('signature') && !head.headers.has('signature-input')) return null
  try {
    const request: SignableRequest = { method, path, authority, headers: [...head.headers] }
    const signed = readSignedRequest(request)
    return signed === null ? null : { signed, request }
  } catch (cause) {
    return new Refusal('SIGNATURE_REJECTED', String(cause))
  }
}
