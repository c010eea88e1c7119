import { generateKeyPairSync, sign } from 'node:crypto'
import {
  createSignatureBase,
  createSignatureInput,
  requestSignatureTag,
  utf8,
} from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import { memoryReplayGuard } from '../adapters/memory/replay-guard.ts'
import { isProvenRequest } from './caller-proof.ts'
import type { AgentRecord } from './directory.ts'
import { createMessageSignatures } from './message-signature.ts'

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
  const replayGuard = memoryReplayGuard({ clock })
  return {
    signatures: createMessageSignatures({ directory, replayGuard, clock }),
    find,
  }
}

/** The facts of a request under the victim's own signature. */
function factsOf({ to = producer, tag = requestSignatureTag, created = now / 1000 } = {}) {
  const input = createSignatureInput({
    components: ['"@method"', '"@path"', '"countersign-to"'],
    ...{ created, keyId: 'k', nonce: 'n'.repeat(24), tag },
  })
  const headers = [['countersign-to', to]] as const
  const base = createSignatureBase(input, { method: 'POST', path: '/', authority: '', headers })
  const signature = new Uint8Array(sign(null, utf8(base), privateKey))
  return { caller, 'request.signature': signature, 'request.signature-base': base }
}

describe('a request that another connector recorded', () => {
  test('is proven by its caller’s signature for this receiver, once', async () => {
    const proofs = newProofs()
    expect(await isProvenRequest(factsOf(), producer, proofs)).toBe(true)
    expect(await isProvenRequest(factsOf(), producer, proofs)).toBe(false)
  })

  test.each<[string, Record<string, unknown>]>([
    ['without a signature', { caller }],
    ['signed for another receiver', factsOf({ to: 'spiffe://a.test/agent/other' })],
    ['signed as something else', factsOf({ tag: 'countersign-response' })],
    ['signed long ago', factsOf({ created: now / 1000 - 3600 })],
    ['of another caller', { ...factsOf(), caller: `${caller}x` }],
    ['over other bytes', { ...factsOf(), 'request.signature': new Uint8Array(64) }],
    ['under no base', { ...factsOf(), 'request.signature-base': 'x' }],
  ])('is not proven %s', async (_, facts) => {
    expect(await isProvenRequest(facts, producer, newProofs())).toBe(false)
  })
})
