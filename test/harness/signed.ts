import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto'
import {
  createSignatureBase,
  createSignatureInput,
  formatContentDigest,
  formatSignedRequestHeaders,
  type MessageAlgorithm,
  profileRequestComponents,
  requestSignatureTag,
  utf8,
} from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { agentId, bodyOf, type Door, type Draft, type HeaderList } from './doors.ts'

/** The differences between a signature and an honest one. */
export interface Signing {
  /** Seconds to add to now. */
  readonly createdIn?: number
  readonly nonce?: string
  /** The components to cover, given the honest ones. */
  readonly cover?: (honest: readonly string[]) => readonly string[]
  /** The key id to claim. */
  readonly keyId?: string
  readonly alg?: MessageAlgorithm
  /** Returns the signature value, by default that of the signer's key over the base. */
  readonly make?: (base: string, key: KeyObject) => Uint8Array
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(bytes).digest())
}

export function signatureOver(base: string, key: KeyObject): Uint8Array {
  return new Uint8Array(sign(null, utf8(base), key))
}

/**
 * Returns `draft` with the signature of `signer` over its present content; a later change is an
 * attack.
 */
export async function signed(
  door: Door,
  signer: Identity,
  draft: Draft = {},
  signing: Signing = {},
): Promise<Draft> {
  return { ...draft, headers: await signatureHeaders(door, signer, draft, signing) }
}

async function signatureHeaders(
  door: Door,
  { signing: key }: Identity,
  draft: Draft,
  how: Signing,
): Promise<HeaderList> {
  const to = draft.to ?? 'echo'
  const { path, authority } = await door.place(to, draft.path ?? '/')
  const body = bodyOf(draft)
  const headers: (readonly [string, string])[] = [
    ...(draft.headers ?? []),
    ['countersign-to', agentId(to)],
  ]
  if (body.length > 0) headers.push(['content-digest', formatContentDigest(sha256(body))])
  const type = ['content-type', draft.contentType ?? 'application/json'] as const
  const request = {
    method: draft.method ?? 'POST',
    path,
    authority,
    headers: body.length > 0 ? [...headers, type] : headers,
  }
  const honest = profileRequestComponents(request)
  const input = createSignatureInput({
    components: how.cover?.(honest) ?? honest,
    created: Math.floor(Date.now() / 1000) + (how.createdIn ?? 0),
    keyId: how.keyId ?? key.keyId,
    nonce: how.nonce ?? randomBytes(18).toString('base64url'),
    tag: requestSignatureTag,
    ...(how.alg === undefined ? {} : { alg: how.alg }),
  })
  const base = createSignatureBase(input, request)
  const signature = (how.make ?? signatureOver)(base, key.privateKey)
  return [...headers, ...formatSignedRequestHeaders('caller', input, signature)]
}
