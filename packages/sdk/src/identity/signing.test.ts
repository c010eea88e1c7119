import { createHash, generateKeyPairSync, verify } from 'node:crypto'
import { readSignedRequest, requestProfileFault, utf8 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { signBytes, signRequest } from './signing.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const signer = { keyId: 'key-1', privateKey }
const clock = { now: () => 1_700_000_000_900 }
const bare = { method: 'POST', path: '/agents/pay/a?b=c', authority: 'fabric.example' }

test('a request is signed for its receiver, over all that the profile asks for', () => {
  const request = { ...bare, headers: [['content-type', 'text/plain']], body: utf8('x') } as const
  const receiverId = 'spiffe://acme.test/agent/pay'
  const sent = signRequest(request, { signer, receiverId, clock })
  const signed = readSignedRequest({ ...request, headers: sent.headers })
  if (signed === null) throw new Error('it is signed')
  const carried = { ...request, headers: sent.headers, hasBody: true }
  expect(requestProfileFault(signed, carried)).toBeNull()
  expect(signed.keyId).toBe('key-1')
  expect(verify(null, utf8(signed.base), publicKey, signed.signature)).toBe(true)
  expect(sent.headers).toContainEqual(['countersign-to', receiverId])
  expect(sent.signature).toEqual(signed.signature)
  expect(sent.digest).toEqual(new Uint8Array(createHash('sha256').update('x').digest()))
  expect(signed.base).toContain('created=1700000000')
})

test('a request to the fabric itself is signed for the host that it is sent to', () => {
  const request = { ...bare, headers: [], body: new Uint8Array(0) }
  const { headers } = signRequest(request, { signer, receiverId: null, clock })
  const signed = readSignedRequest({ ...request, headers })
  expect(signed?.base).toContain('"@authority": fabric.example')
  expect(headers.map(([name]) => name)).toEqual(['signature-input', 'signature'])
})

test('no two signatures of one request are the same', () => {
  const request = { ...bare, headers: [], body: new Uint8Array(0) }
  const once = () => signRequest(request, { signer, receiverId: null, clock }).signature
  expect(once()).not.toEqual(once())
})

test('bytes are signed with raw Ed25519', () => {
  const signature = signBytes(signer, utf8('a'))
  expect(signature).toHaveLength(64)
  expect(verify(null, utf8('a'), publicKey, signature)).toBe(true)
})
