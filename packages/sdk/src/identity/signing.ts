import { type KeyObject, sign } from 'node:crypto'
import {
  formatContentDigest,
  formatSignedRequestHeaders,
  type HeaderList,
  prepareRequestSignature,
  receiverHeader,
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
  readonly body: Uint8Array
}

/** A request with its signature, and what a receipt about it has to contain. */
export interface SentRequest {
  readonly headers: HeaderList
  /** SHA-256 of the body. */
  readonly digest: Uint8Array
  /** 64 bytes; null for a request that went unsigned. */
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
  const digest = sha256(request.body)
  const hasContent =
    request.body.length > 0 || request.headers.some(([name]) => name === 'content-type')
  const headers = request.headers.map(([name, value]): [string, string] => [name, value])
  if (receiverId !== null) headers.push([receiverHeader, receiverId])
  if (hasContent) headers.push(['content-digest', formatContentDigest(digest)])
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
    signature,
  }
}

/** Raw Ed25519, 64 bytes. */
export function signBytes(signer: Signer, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, bytes, signer.privateKey))
}
