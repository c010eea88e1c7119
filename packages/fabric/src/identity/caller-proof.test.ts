import { generateKeyPairSync, sign } from 'node:crypto'
import {
  createSignatureBase,
  createSignatureInput,
  parseSignatureBase,
  requestSignatureTag,
  type SignedHalf,
  utf8,
} from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import { memoryUsedValues } from '../adapters/memory/used-values.ts'
import { isProvenRequest, type RecordedRequest } from './caller-proof.ts'
import type { AgentRecord } from './directory.ts'
import { createMessageSignatures } from './message-signature.ts'
import { createReplayGuard } from './replay-guard.ts'

const caller = 'spiffe://a.test/agent/victim'
const producer = 'spiffe://a.test/agent/thief'
const now = 1_800_000_000_000
const clock = { now: () => now, monotonic: () => 0 }
const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const raw = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32))

const victim: AgentRecord = {
  ...{ name: 'victim', kind: 'agent', roles: [], segment: '', attributes: {} },
  ...{ status: 'active', statusReason: '', createdAt: 0, generation: 0 },
  keys: {
    signing: { keyId: 'k', publicKey: raw },
    sealing: { keyId: 's', publicKey: new Uint8Array(32) },
  },
}

function newProofs() {
  const find = (name: string) => (name === 'victim' ? victim : null)
  const findBySigningKey = (keyId: string) => (keyId === 'k' ? victim : null)
  const directory = {
    ...{ find, findBySigningKey, list: () => [victim] },
    put: () => Promise.reject(new Error('nothing is changed here')),
    onChange: () => () => undefined,
  }
  const replayGuard = createReplayGuard(
    memoryUsedValues({ clock, lostAt: Number.NEGATIVE_INFINITY }),
    clock,
  )
  return {
    signatures: createMessageSignatures({ directory, replayGuard, clock }),
    find,
  }
}

/** A request under the victim's own signature, as its entry has been verified. */
function requestOf({ to = producer, tag = requestSignatureTag, created = now / 1000 } = {}) {
  const input = createSignatureInput({
    components: ['"@method"', '"@path"', '"countersign-to"'],
    ...{ created, keyId: 'k', nonce: 'n'.repeat(24), tag },
  })
  const headers = [['countersign-to', to]] as const
  const base = createSignatureBase(input, { method: 'POST', path: '/', authority: '', headers })
  const signature = new Uint8Array(sign(null, utf8(base), privateKey))
  const asked: SignedHalf = { signature, base, parsed: parseSignatureBase(base), key: raw }
  return { caller, producer, asked }
}

/**
 * Under the victim's key id, by a key that is not the victim's: as good as verified by the other
 * key.
 */
function signedByAnotherKey(): RecordedRequest {
  const request = requestOf()
  const other = generateKeyPairSync('ed25519')
  const signature = new Uint8Array(sign(null, utf8(request.asked.base), other.privateKey))
  const key = new Uint8Array(other.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32))
  return { ...request, asked: { ...request.asked, signature, key } }
}

describe('a request that another connector recorded', () => {
  test('is proven by its caller’s signature for this receiver, once', async () => {
    const proofs = newProofs()
    expect(await isProvenRequest(requestOf(), proofs)).toBe(true)
    expect(await isProvenRequest(requestOf(), proofs)).toBe(false)
  })

  test.each<[string, RecordedRequest]>([
    ['signed for another receiver', requestOf({ to: 'spiffe://a.test/agent/other' })],
    ['signed as something else', requestOf({ tag: 'countersign-response' })],
    ['signed long ago', requestOf({ created: now / 1000 - 3600 })],
    ['of another caller', { ...requestOf(), caller: `${caller}x` }],
    ['of no caller', { ...requestOf(), caller: undefined }],
    ['signed with another key', signedByAnotherKey()],
  ])('is not proven %s', async (_, request) => {
    expect(await isProvenRequest(request, newProofs())).toBe(false)
  })
})
