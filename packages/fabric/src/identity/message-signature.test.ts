import { sign } from 'node:crypto'
import {
  prepareRequestSignature,
  readSignedRequest,
  type SignedRequest,
  toBase64,
} from '@countersign/protocol'
import { beforeEach, expect, test } from 'vitest'
import {
  type EnrolledAgent,
  enrollAgent,
  openTestIdentity,
} from '../../../../test/contracts/identity-lab.ts'
import { agentKey } from '../../../../test/harness/principals.ts'
import type { Caller } from './caller.ts'

let deps: Awaited<ReturnType<typeof openTestIdentity>>
let alice: EnrolledAgent
let bob: EnrolledAgent
beforeEach(async () => {
  deps = await openTestIdentity()
  alice = await enrollAgent(deps.identity, { name: 'alice' })
  bob = await enrollAgent(deps.identity, { name: 'bob' })
})

let nonces = 0

function signedBy(
  signer: EnrolledAgent,
  changes: { created?: number; nonce?: string; keyId?: string; expires?: number } = {},
): SignedRequest {
  const headers: [string, string][] = [['countersign-to', 'bob']]
  const request = {
    method: 'POST',
    scheme: 'https',
    authority: 'localhost',
    path: '/x',
    headers,
    hasBody: false,
  } as const
  const { input, base } = prepareRequestSignature(request, {
    created: Math.floor(deps.clock.now() / 1000),
    keyId: signer.grant.signingKeyId,
    nonce: `nonce-${nonces++}`.padEnd(22, '_'),
    ...changes,
  })
  const signature = sign(null, Buffer.from(base), signer.secrets.signing)
  const signed = readSignedRequest({
    ...request,
    headers: [
      ...headers,
      ['signature-input', `sig=${input}`],
      ['signature', `sig=:${toBase64(signature)}:`],
    ],
  })
  if (signed === null) throw new Error('no signature was read')
  return signed
}

function callerOf(agent: EnrolledAgent): Caller {
  return {
    principal: agentKey(agent.grant.name),
    kind: 'agent',
    name: agent.grant.name,
    method: 'certificate',
    credentialId: '',
    roles: [],
    segment: '',
    attributes: {},
    scopes: null,
    expiresAt: 0,
  }
}

test('a signature by the caller’s own key is accepted once', async () => {
  const signed = signedBy(alice)
  expect(await deps.identity.signatures.checkRequest(signed, callerOf(alice))).toBeNull()
  expect(await deps.identity.signatures.checkRequest(signed, callerOf(alice))).toMatchObject({
    code: 'MESSAGE_REPLAYED',
  })
  expect(await deps.identity.signatures.checkRequest(signedBy(alice), callerOf(alice))).toBeNull()
})

test('a replay is refused for as long as the signature itself would be good', async () => {
  const created = Math.floor(deps.clock.now() / 1000) + 19
  const signed = signedBy(alice, { created })
  const check = () => deps.identity.signatures.checkRequest(signed, callerOf(alice))
  expect(await check()).toBeNull()
  deps.clock.advance(78_000)
  expect(await check()).toMatchObject({ code: 'MESSAGE_REPLAYED' })
  deps.clock.advance(3_000)
  expect(await check()).toMatchObject({ code: 'SIGNATURE_REJECTED' })
})

test('two agents may use the same nonce', async () => {
  const nonce = 'n'.repeat(22)
  expect(
    await deps.identity.signatures.checkRequest(signedBy(alice, { nonce }), callerOf(alice)),
  ).toBeNull()
  expect(
    await deps.identity.signatures.checkRequest(signedBy(bob, { nonce }), callerOf(bob)),
  ).toBeNull()
})

test('signatures that are old, early, expired, unsigned for, or of another are refused', async () => {
  const now = Math.floor(deps.clock.now() / 1000)
  const good = signedBy(alice)
  const { nonce: _, ...rest } = good
  for (const signed of [
    signedBy(alice, { created: now - 61 }),
    signedBy(alice, { created: now + 21 }),
    signedBy(alice, { expires: now - 1 }),
    signedBy(alice, { nonce: 'short' }),
    { ...rest, nonce: null },
    signedBy(bob),
    signedBy(bob, { keyId: alice.grant.signingKeyId }),
    signedBy(alice, { keyId: 'unknown' }),
    { ...good, base: `${good.base} ` },
    { ...good, signature: new Uint8Array(64) },
  ]) {
    expect(await deps.identity.signatures.checkRequest(signed, callerOf(alice))).toMatchObject({
      code: 'SIGNATURE_REJECTED',
    })
  }
})

function keyOf({ grant }: EnrolledAgent): Uint8Array {
  const key = deps.identity.signatures.findPublicKey(grant.signingKeyId)
  if (key === null) throw new Error('the key is not in the directory')
  return key
}

test('a signature that was verified by the caller’s own key is not verified again, by another it is', async () => {
  const { checkRequest } = deps.identity.signatures
  const verified = { ...signedBy(alice), signature: new Uint8Array(64) }
  expect(await checkRequest(verified, callerOf(alice), keyOf(bob))).toMatchObject({
    code: 'SIGNATURE_REJECTED',
  })
  expect(await checkRequest(verified, callerOf(alice), keyOf(alice))).toBeNull()
  expect(await checkRequest(verified, callerOf(alice), keyOf(alice))).toMatchObject({
    code: 'MESSAGE_REPLAYED',
  })
})

test('a verified signature is still refused for all other faults', async () => {
  const now = Math.floor(deps.clock.now() / 1000)
  for (const [signed, caller] of [
    [signedBy(alice, { created: now - 61 }), alice],
    [signedBy(alice, { created: now + 21 }), alice],
    [signedBy(alice, { expires: now - 1 }), alice],
    [signedBy(alice, { nonce: 'short' }), alice],
    [signedBy(alice, { keyId: 'unknown' }), alice],
    [signedBy(alice, { keyId: bob.grant.signingKeyId }), bob],
    [signedBy(alice), bob],
  ] as const) {
    const { checkRequest } = deps.identity.signatures
    expect(await checkRequest(signed, callerOf(caller), keyOf(alice))).toMatchObject({
      code: 'SIGNATURE_REJECTED',
    })
  }
})

test('a bad signature uses up no nonce', async () => {
  const good = signedBy(alice)
  const forged = { ...good, signature: new Uint8Array(64) }
  expect(await deps.identity.signatures.checkRequest(forged, callerOf(alice))).not.toBeNull()
  expect(await deps.identity.signatures.checkRequest(good, callerOf(alice))).toBeNull()
})

test('a countersignature must be by the key of the receiver', () => {
  const { signatures } = deps.identity
  expect(signatures.checkResponse(signedBy(bob), 'bob')).toBeNull()
  for (const [signed, receiver] of [
    [signedBy(alice), 'bob'],
    [signedBy(bob), 'alice'],
    [signedBy(bob), 'eve'],
  ] as const) {
    expect(signatures.checkResponse(signed, receiver)).toMatchObject({
      code: 'COUNTERSIGNATURE_REJECTED',
    })
  }
})

test('public keys are found by their id', () => {
  const { signatures } = deps.identity
  const x = alice.secrets.signing.export({ format: 'jwk' }).x ?? ''
  expect(signatures.findPublicKey(alice.grant.signingKeyId)).toEqual(
    new Uint8Array(Buffer.from(x, 'base64url')),
  )
  expect(signatures.findPublicKey('unknown')).toBeNull()
})
