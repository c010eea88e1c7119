import { type KeyObject, sign } from 'node:crypto'
import {
  formatContentDigest,
  formatSignedRequestHeaders,
  type HeaderList,
  prepareRequestSignature,
  receiverHeader,
  streamedBody,
  toBase64Url,
  utf8,
} from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import { sha256 } from '../lib/sha256.ts'

/** The key with which an agent signs, under the id that the fabric knows it by. */
export interface Signer {
  readonly keyId: string
  readonly privateKey: KeyObject
}

export interface UnsignedRequest {
  readonly method: string
  readonly path: string
  readonly authority: string
  readonly headers: HeaderList
  /** Null for a stream, of which the head and the statement that it is one are signed. */
  readonly body: Uint8Array | null
}

/** A request with its signature, and what a receipt about it has to contain. */
export interface SentRequest {
  readonly headers: HeaderList
  /** SHA-256 of the body; null for a stream. */
  readonly digest: Uint8Array | null
  /** 64 bytes; null for a stream, which does not count as signed and has no signature on record. */
  readonly signature: Uint8Array | null
}

/**
 * Signs as label `caller` (RFC 9421), good once: for `receiverId` alone, or where that is null, as
 * for the fabric's own resources, for the host that it is sent to.
 */
export function signRequest(
  request: UnsignedRequest,
  { signer, receiverId, clock }: { signer: Signer; receiverId: string | null; clock: Clock },
): SentRequest {
  const { body } = request
  const digest = body === null ? null : sha256(body)
  const headers = request.headers.map(([name, value]): [string, string] => [name, value])
  if (receiverId !== null) headers.push([receiverHeader, receiverId])
  if (digest === null) headers.push([...streamedBody])
  else if (hasContent(request)) headers.push(['content-digest', formatContentDigest(digest)])
  const { input, base } = prepareRequestSignature(
    { ...request, headers },
    {
      created: Math.floor(clock.now() / 1000),
      keyId: signer.keyId,
      nonce: toBase64Url(systemRandom(18)),
    },
  )
  const signature = signBytes(signer, utf8(base))
  return {
    headers: [...headers, ...formatSignedRequestHeaders('caller', input, signature)],
    digest,
    signature: digest === null ? null : signature,
  }
}

function hasContent({ body, headers }: UnsignedRequest): boolean {
  return (body?.length ?? 0) > 0 || headers.some(([name]) => name === 'content-type')
}

/** Raw Ed25519, 64 bytes. */
export function signBytes(signer: Signer, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, bytes, signer.privateKey))
}
