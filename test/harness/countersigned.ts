import type { KeyObject } from 'node:crypto'
import {
  createSignatureBase,
  createSignatureInput,
  formatContentDigest,
  formatSignedResponseHeaders,
  type MessageAlgorithm,
  profileResponseComponents,
  responseSignatureTag,
  type SignableRequest,
  utf8,
} from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import type { HeaderList } from './doors.ts'
import type { Reached } from './echo.ts'
import { sha256, signatureOver } from './signed.ts'

/** The differences between a countersignature and an honest one. */
export interface Countersigning {
  readonly status?: number
  readonly body?: string
  readonly keyId?: string
  readonly cover?: (honest: readonly string[]) => readonly string[]
  readonly alg?: MessageAlgorithm
  /** As that of `Signing`. */
  readonly make?: (base: string, key: KeyObject) => Uint8Array
}

export const answerBody = '{"paid":true}'

/**
 * Returns the fields of a countersigned answer to the request that reached a receiver, as `how`
 * describes.
 */
export function countersignatureOf(
  reached: Pick<Reached, 'method' | 'url' | 'rawHeaders'>,
  { signing }: Identity,
  how: Countersigning = {},
): HeaderList {
  const fields: [string, string][] = [
    ['content-type', 'application/json'],
    ['content-digest', formatContentDigest(sha256(utf8(how.body ?? answerBody)))],
  ]
  const response = { status: how.status ?? 200, headers: fields }
  const answer = { response, request: requestOf(reached) }
  const honest = profileResponseComponents(answer)
  const input = createSignatureInput({
    components: how.cover?.(honest) ?? honest,
    created: Math.floor(Date.now() / 1000),
    keyId: how.keyId ?? signing.keyId,
    tag: responseSignatureTag,
    ...(how.alg === undefined ? {} : { alg: how.alg }),
  })
  const base = createSignatureBase(input, answer)
  const signature = (how.make ?? signatureOver)(base, signing.privateKey)
  return [...fields, ...formatSignedResponseHeaders('callee', input, signature)]
}

function requestOf({
  method,
  url,
  rawHeaders,
}: Pick<Reached, 'method' | 'url' | 'rawHeaders'>): SignableRequest {
  const headers: [string, string][] = []
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    headers.push([(rawHeaders[at] ?? '').toLowerCase(), rawHeaders[at + 1] ?? ''])
  }
  return { method, path: url, authority: '', headers }
}
