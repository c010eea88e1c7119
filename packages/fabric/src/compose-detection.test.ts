import { generateKeyPairSync, sign } from 'node:crypto'
import {
  createSignatureBase,
  createSignatureInput,
  requestSignatureTag,
  utf8,
} from '@countersign/protocol'
import { describe, expect, test } from 'vitest'
import { memoryReplayGuard } from './adapters/memory/replay-guard.ts'
import { isDoingOfCaller } from './compose-detection.ts'
import type { AgentRecord } from './identity/directory.ts'
import { createMessageSignatures } from './identity/message-signature.ts'
import type { EntryDraft } from './ledger/ledger.ts'

const caller = 'spiffe://a.test/agent/victim'
const producer = 'spiffe://a.test/agent/thief'
const now = 1_800_000_000_000
const clock = { now: () => now, monotonic: () => 0 }
const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const raw = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32))

const victim: AgentRecord = {
  ...{ name: 'victim', kind: 'agent', roles: [], segment: '', attributes: {} },
  ...{ status: 'active', statusReason: '', createdAt: 0 },
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
    findAgent: find,
  }
}

/** An intent under the victim's own signature. */
function intent({
  to = producer,
  tag = requestSignatureTag,
  created = now / 1000,
} = {}): EntryDraft {
  const input = createSignatureInput({
    components: ['"@method"', '"@path"', '"countersign-to"'],
    ...{ created, keyId: 'k', nonce: 'n'.repeat(24), tag },
  })
  const headers = [['countersign-to', to]] as const
  const base = createSignatureBase(input, { method: 'POST', path: '/', authority: '', headers })
  const signature = new Uint8Array(sign(null, utf8(base), privateKey))
  const facts = { caller, 'request.signature': signature, 'request.signature-base': base }
  return { kind: 'intent', exchange: `dec_${'0'.repeat(32)}`, at: now, facts }
}

describe('what counts against a caller', () => {
  test('is what it signed, for this receiver, once', async () => {
    const proofs = newProofs()
    expect(await isDoingOfCaller(intent(), producer, proofs)).toBe(true)
    expect(await isDoingOfCaller(intent(), producer, proofs)).toBe(false)
  })

  test('is what its own connector says', async () => {
    const own: EntryDraft = { ...intent(), kind: 'refusal', facts: { caller } }
    expect(await isDoingOfCaller(own, caller, newProofs())).toBe(true)
  })

  test.each<[string, EntryDraft]>([
    ['without a signature', { ...intent(), facts: { caller } }],
    ['signed for another receiver', intent({ to: 'spiffe://a.test/agent/other' })],
    ['signed as something else', intent({ tag: 'countersign-response' })],
    ['signed long ago', intent({ created: now / 1000 - 3600 })],
    ['of another caller', { ...intent(), facts: { ...intent().facts, caller: `${caller}x` } }],
    [
      'over other bytes',
      { ...intent(), facts: { ...intent().facts, 'request.signature': new Uint8Array(64) } },
    ],
    ['under no base', { ...intent(), facts: { ...intent().facts, 'request.signature-base': 'x' } }],
  ])('is not what another connector says: %s', async (_, draft) => {
    expect(await isDoingOfCaller(draft, producer, newProofs())).toBe(false)
  })
})
