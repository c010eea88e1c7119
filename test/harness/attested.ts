import { createPublicKey, randomBytes, sign } from 'node:crypto'
import {
  createSignatureBase,
  createSignatureInput,
  formatContentDigest,
  type MeshFact,
  requestSignatureTag,
  utf8,
} from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { agentId } from './doors.ts'
import { sha256 } from './signed.ts'

export interface AttestedDraft {
  readonly method?: string
  readonly path?: string
  /** Empty for a request without content. */
  readonly body?: string
  readonly to?: string
  /** Further fields, each of which is covered. */
  readonly headers?: readonly (readonly [name: string, value: string])[]
}

export type AttestedFacts = Readonly<Record<string, MeshFact>>

/** The raw public key that an identity signs with. */
export function rawKeyOf({ signing }: Identity): Uint8Array {
  const spki = createPublicKey(signing.privateKey).export({ format: 'der', type: 'spki' })
  return new Uint8Array(spki.subarray(-32))
}

/**
 * Returns the facts that a connector records of a request that `signer` signed for the agent `to`.
 */
export function attestedBy(signer: Identity, draft: AttestedDraft = {}): AttestedFacts {
  const { method = 'POST', path = '/', body = '{}', to = 'thief', headers: further = [] } = draft
  const { keyId, privateKey } = signer.signing
  const digest = sha256(Buffer.from(body))
  const headers: [string, string][] = [
    ['countersign-to', agentId(to)],
    ...(body === '' ? [] : [['content-digest', formatContentDigest(digest)] as [string, string]]),
    ...further.map(([name, value]): [string, string] => [name, value]),
  ]
  const components = ['@method', '@path', ...headers.map(([name]) => name)]
  const input = createSignatureInput({
    components: components.map((name) => `"${name}"`),
    created: Math.floor(Date.now() / 1000),
    nonce: randomBytes(18).toString('base64url'),
    keyId,
    tag: requestSignatureTag,
  })
  const base = createSignatureBase(input, { method, path, authority: '', headers })
  return {
    'attested.request': 'caller',
    'request.key': rawKeyOf(signer),
    'request.signature': new Uint8Array(sign(null, utf8(base), privateKey)),
    'request.signature-base': base,
    'request.digest': digest,
  }
}
