import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { readSignedRequest, type SignableRequest } from '@countersign/protocol'
import { peerChain, tlsSocketOf } from '@countersign/protocol/tls'
import type { Presented } from '../../identity/caller.ts'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { PresentedSignature } from '../../pipeline/arrival.ts'
import { ArrivingBytes } from './arriving-bytes.ts'
import { type Head, readHead } from './head.ts'

export type NodeRequest = IncomingMessage | Http2ServerRequest

/** One request, parsed once and bounded; nothing about its sender is verified. */
export interface Incoming {
  readonly head: Head
  readonly presented: Presented
  readonly signature: PresentedSignature | null
  readonly body: Uint8Array
}

/**
 * Reads a request whole. The head is judged before a byte of the body is accepted. `present` says
 * what the peer put forward; by default its certificate, token and API key.
 */
export async function readIncoming(
  request: NodeRequest,
  bodyBytesMax: number,
  present: (request: NodeRequest, head: Head) => Presented | Refusal = readPresented,
): Promise<Incoming | Refusal> {
  const head = readHead({
    method: request.method ?? '',
    url: request.url ?? '',
    rawHeaders: request.rawHeaders,
    authority: 'authority' in request ? request.authority : '',
    httpVersion: request.httpVersion,
  })
  if (head instanceof Refusal) return head
  const presented = present(request, head)
  if (presented instanceof Refusal) return presented
  const signature = readSignature(head)
  if (signature instanceof Refusal) return signature
  const body = await readBody(request, head, bodyBytesMax)
  if (body instanceof Refusal) return body
  return { head, presented, signature, body }
}

function readPresented(request: NodeRequest, head: Head): Presented | Refusal {
  const authorization = head.headers.get('authorization')
  let bearer: string | null = null
  if (authorization !== undefined) {
    const match = /^Bearer ([A-Za-z0-9._~+/=-]{1,8192})$/i.exec(authorization)
    if (match === null) {
      return new Refusal('CREDENTIAL_REJECTED', 'Authorization is no Bearer token (RFC 6750)')
    }
    bearer = match[1] ?? null
  }
  return {
    certificateChain: certificateChainOf(tlsSocketOf(request)),
    bearer,
    apiKey: head.headers.get('x-api-key') ?? null,
  }
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

/** The chain costs a copy of every certificate, and a connection's peer cannot change (TLS 1.3). */
const chains = new WeakMap<TLSSocket, readonly Uint8Array[] | null>()

/** As the peer of this connection sent it; null when it sent none. */
export function certificateChainOf(socket: TLSSocket | null): readonly Uint8Array[] | null {
  if (socket === null) return null
  const known = chains.get(socket)
  if (known !== undefined) return known
  const chain = peerChain(socket)
  chains.set(socket, chain)
  return chain
}

async function readBody(
  request: NodeRequest,
  head: Head,
  bodyBytesMax: number,
): Promise<Uint8Array | Refusal> {
  const limit = { name: 'limits.bodyBytes', value: bodyBytesMax, unit: 'bytes' } as const
  const tooLarge = () => overLimit('MESSAGE_TOO_LARGE', limit)
  const declared = head.headers.get('content-length')
  if (declared !== undefined && Number(declared) > bodyBytesMax) return tooLarge()
  const body = await readAll(request, bodyBytesMax)
  if (body === null) return tooLarge()
  if (body.length > 0 && (head.method === 'GET' || head.method === 'HEAD')) {
    return new Refusal('MESSAGE_MALFORMED', `${head.method} with a body`)
  }
  return body
}

/**
 * Null beyond `bytesMax`; rejects when it breaks off. What comes after is thrown away until the
 * refusal is out, since a connection that is cut at once takes the refusal with it. Read by its events: an async iterator costs several times as much, and most bodies are one chunk.
 */
function readAll(request: NodeRequest, bytesMax: number): Promise<Uint8Array | null> {
  return new Promise((resolve, reject) => {
    const body = new ArrivingBytes(bytesMax)
    request.on('data', (chunk: Uint8Array) => {
      if (!body.add(chunk)) resolve(null)
    })
    request.once('end', () => resolve(body.take()))
    request.on('error', reject)
    request.once('close', () => {
      if (!request.readableEnded) reject(new Error('the request broke off'))
    })
  })
}
