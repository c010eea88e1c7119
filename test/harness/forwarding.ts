import { createHash, randomBytes, sign } from 'node:crypto'
import {
  createExchangeId,
  createSignatureBase,
  createSignatureInput,
  formatContentDigest,
  formatSignedRequestHeaders,
  utf8,
} from '@countersign/protocol'
import type { Identity } from '@countersign/sdk'
import { agentId, type HeaderList } from './doors.ts'

export const forwardedBody = '{"pay":10}'

interface Forging {
  readonly keyId: string
  readonly from?: string
  readonly to?: string
  /** Unix milliseconds of the signature; now unless stated otherwise. */
  readonly at?: number
}

/** The fields that a connector or the fabric adds to a forwarded request, signed with any key. */
export function forwarding(
  { signing }: Pick<Identity, 'signing'>,
  { keyId, from, to, at = Date.now() }: Forging,
): HeaderList {
  const exchange = createExchangeId('a', Date.now(), new Uint8Array(randomBytes(10)))
  const digest = new Uint8Array(createHash('sha256').update(forwardedBody).digest())
  const headers: HeaderList = [
    ['countersign-exchange', exchange],
    ['countersign-from', from ?? agentId('caller')],
    ['countersign-to', to ?? agentId('serving')],
    ['content-digest', formatContentDigest(digest)],
  ]
  const names = ['content-digest', 'countersign-exchange', 'countersign-from', 'countersign-to']
  const input = createSignatureInput({
    components: ['"@method"', '"@path"', ...names.map((name) => `"${name}"`)],
    created: Math.floor(at / 1000),
    ...{ keyId, nonce: exchange, tag: 'countersign-forward' },
  })
  const base = createSignatureBase(input, { method: 'POST', path: '/', authority: '', headers })
  const signature = new Uint8Array(sign(null, utf8(base), signing.privateKey))
  return [...headers, ...formatSignedRequestHeaders('fabric', input, signature)]
}

/** For `findKey` of a serving agent: as it knows the key of an agent that calls directly. */
export function forwardKeyOf({ signing, spiffeId }: Pick<Identity, 'signing' | 'spiffeId'>) {
  const { x = '' } = signing.privateKey.export({ format: 'jwk' })
  const publicKey = new Uint8Array(Buffer.from(x, 'base64url'))
  return (keyId: string) =>
    Promise.resolve(keyId === signing.keyId ? { publicKey, spiffeId } : null)
}
