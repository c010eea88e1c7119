import { createExchangeId, type MeshEntry, verifyEd25519 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { Refusal } from '../lib/refusal.ts'
import { sha256 } from '../lib/sha256.ts'
import {
  createEntryAdmission,
  type EntryAdmissionOptions,
  type KnownPrincipal,
} from './entry-admission.ts'
import type { Connector } from './exchange-claims.ts'
import type { StatedEntry } from './stated-entry.ts'

const now = 1_800_000_000_000
const connector: Connector = { principal: 'spiffe://a.test/agent/bob', name: 'bob' }

const appendBatch = () => Promise.reject(new Error('nothing is recorded here'))

/** An entry of the connector, of which only what is in clear is looked at. */
const stated = (entry: MeshEntry, at = now): StatedEntry => ({
  ...entry,
  facts: { producer: connector.principal, ...entry.facts },
  at,
  leaf: new Uint8Array(0),
  leafHash: Buffer.alloc(32),
  detail: new Uint8Array(0),
})

function entryOf(at: number): StatedEntry {
  const exchange = createExchangeId(
    'a',
    now,
    Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, at >> 8, at & 255),
  )
  return stated({
    ...{ kind: 'intent', exchange },
    facts: { receiver: 'bob', 'private.request': '{}', ...intentFacts },
  })
}

const digest = new Uint8Array(32)
/** Of an intent that every verifier accepts. */
const intentFacts: MeshEntry['facts'] = {
  ...{ transport: 'mesh', protocol: 'http', operation: 'POST', tool: '', receiver: 'bob' },
  ...{ caller: 'spiffe://a.test/agent/ann', 'caller.method': 'certificate' },
  ...{ 'caller.credential': 'a'.repeat(64), masked: '', 'attested.request': 'connector' },
  producer: connector.principal,
  ...{ 'policy.version': 'b'.repeat(64), 'policy.rules': 'rule', 'private.request': '{}' },
  ...{ 'request.digest': digest, 'request.forwarded-digest': digest },
}

/** The turn of the event loop in which each of 256 entries came to `step`. */
async function turnsOf(step: 'decided' | 'proved'): Promise<readonly number[]> {
  let turns = 0
  let next = setImmediate(function turn() {
    turns++
    next = setImmediate(turn)
  })
  const seen = { decided: [] as number[], proved: [] as number[] }
  const options: EntryAdmissionOptions = {
    findPrincipal: () => ({ kind: 'agent', status: 'active', keys: null }),
    hasReceiver: () => false,
    trust: { trustDomain: 'a.test', fabricKey: new Uint8Array(32) },
    verify: verifyEd25519,
    hash: sha256,
    isApproved: () => Promise.resolve(true),
    isProvenRequest: () => Promise.resolve(true),
    decisionFault() {
      seen.decided.push(turns)
      return null
    },
    ledger: {
      slot: 'a',
      explain() {
        seen.proved.push(turns)
        return Promise.resolve([])
      },
      appendBatch,
      openIntent: () => null,
    },
  }
  const entries = Array.from({ length: 256 }, (_, at) => entryOf(at))
  const claim = await createEntryAdmission(options).claim(entries, connector, now)
  clearImmediate(next)
  expect(claim).not.toBeInstanceOf(Refusal)
  return seen[step]
}

test.each(['decided', 'proved'] as const)(
  'a batch of entries lets other work have its turn while they are %s',
  async (step) => {
    const seen = await turnsOf(step)
    expect(seen).toHaveLength(256)
    expect(new Set(seen).size).toBeGreaterThanOrEqual(16)
  },
)

const minuteMs = 60_000
const bobsKey = new Uint8Array(32).fill(1)

/**
 * Returns the reason why an entry is not admitted; entries that pass every check before it end at
 * `decisionFault`.
 */
async function faultOf(
  entry: Pick<MeshEntry, 'kind' | 'facts'>,
  begun = now,
  at = now,
): Promise<string> {
  const bob: KnownPrincipal = {
    kind: 'agent',
    status: 'active',
    keys: { signing: { publicKey: bobsKey } },
  }
  const options: EntryAdmissionOptions = {
    findPrincipal: (name) => (name === 'bob' ? bob : null),
    hasReceiver: () => false,
    trust: { trustDomain: 'a.test', fabricKey: new Uint8Array(32) },
    verify: verifyEd25519,
    hash: sha256,
    isApproved: () => Promise.resolve(true),
    isProvenRequest: () => Promise.resolve(true),
    decisionFault: () => 'looked at the request',
    ledger: { slot: 'a', appendBatch, explain: () => Promise.resolve([]), openIntent: () => null },
  }
  const exchange = createExchangeId('a', begun, new Uint8Array(10))
  const facts = { 'private.request': '{}', ...entry.facts }
  const claim = await createEntryAdmission(options).claim(
    [stated({ kind: entry.kind, exchange, facts }, at)],
    connector,
    now,
  )
  return claim instanceof Refusal ? claim.detail : 'admitted'
}

test.each<[MeshEntry['kind'], number, string]>([
  ['intent', 0, 'looked at the request'],
  ['intent', 5 * minuteMs, 'looked at the request'],
  ['intent', 5 * minuteMs + 1, 'begins in the future'],
  ['outcome', 5 * minuteMs + 1, 'begins in the future'],
  ['intent', -5 * minuteMs, 'looked at the request'],
  ['intent', -5 * minuteMs - 1, 'did not begin within five minutes'],
  ['refusal', -5 * minuteMs - 1, 'did not begin within five minutes'],
  ['outcome', -5 * minuteMs - 1, 'looked at the request'],
  ['outcome', -120 * minuteMs, 'looked at the request'],
  ['outcome', -120 * minuteMs - 1, 'began more than two hours ago'],
  ['indeterminate', -120 * minuteMs - 1, 'began more than two hours ago'],
])('an entry of kind %s, %d ms from now: %s', async (kind, offset, detail) => {
  expect(await faultOf({ kind, facts: {} }, now + offset)).toContain(detail)
})

test.each<[MeshEntry['kind'], number, string]>([
  ['intent', 5 * minuteMs, 'looked at the request'],
  ['intent', 5 * minuteMs + 1, 'of another time'],
  ['outcome', 5 * minuteMs + 1, 'of another time'],
  ['outcome', -5 * minuteMs, 'looked at the request'],
  ['outcome', -5 * minuteMs - 1, 'of another time'],
])('an entry of kind %s that its connector made %d ms from now: %s', async (kind, at, detail) => {
  expect(await faultOf({ kind, facts: {} }, now, now + at)).toContain(detail)
})

test('an entry names the connector that states it as its producer', async () => {
  const facts = { producer: 'spiffe://a.test/agent/eve' }
  expect(await faultOf({ kind: 'intent', facts })).toContain('does not record for')
})

test('the key of a response is that of the connector that records it', async () => {
  const facts = (key: Uint8Array) => ({ 'response.key': key })
  expect(await faultOf({ kind: 'outcome', facts: facts(bobsKey) })).toBe('looked at the request')
  expect(await faultOf({ kind: 'outcome', facts: facts(new Uint8Array(32)) })).toBe(
    'response.key is not the key of spiffe://a.test/agent/bob',
  )
})

test('the key of a request is that of the caller that the entry names', async () => {
  const caller = { caller: 'spiffe://a.test/agent/bob' }
  const facts = (key: Uint8Array) => ({ ...caller, 'request.key': key })
  expect(await faultOf({ kind: 'intent', facts: facts(bobsKey) })).toBe('looked at the request')
  expect(await faultOf({ kind: 'intent', facts: facts(new Uint8Array(32)) })).toContain(
    'request.key is not the key',
  )
})

test('an intent of a caller that was quarantined while its entry was proved is not admitted', async () => {
  const claimedAs = async (statusOnceProved: string) => {
    let status = 'active'
    const options: EntryAdmissionOptions = {
      findPrincipal: () => ({ kind: 'agent', status, keys: null }),
      hasReceiver: () => false,
      trust: { trustDomain: 'a.test', fabricKey: new Uint8Array(32) },
      verify: verifyEd25519,
      hash: sha256,
      isApproved: () => Promise.resolve(true),
      isProvenRequest: () => Promise.resolve(true),
      decisionFault: () => null,
      ledger: {
        slot: 'a',
        explain() {
          status = statusOnceProved
          return Promise.resolve([])
        },
        appendBatch,
        openIntent: () => null,
      },
    }
    const exchange = createExchangeId('a', now, new Uint8Array(10))
    const entries = [stated({ kind: 'intent', exchange, facts: intentFacts })]
    const claim = await createEntryAdmission(options).claim(entries, connector, now)
    return claim instanceof Refusal ? claim.detail : claim.admitted.size
  }
  expect(await claimedAs('active')).toBe(1)
  expect(await claimedAs('quarantined')).toBe('spiffe://a.test/agent/ann is quarantined')
})

test('the end of an exchange is held against copies of its own connector, and of no other', async () => {
  const exchange = createExchangeId('a', now, new Uint8Array(10))
  const facts = { result: 'unknown', code: 'OUTCOME_UNKNOWN' }
  const ending = (producer = connector.principal) =>
    stated({ kind: 'indeterminate', exchange, facts: { ...facts, transport: 'mesh', producer } })
  const beside = { ...ending(), exchange: createExchangeId('a', now, new Uint8Array(10).fill(1)) }
  const other: Connector = { principal: 'spiffe://a.test/agent/eve', name: 'eve' }
  const proving = Promise.withResolvers<readonly []>()
  const intent = { index: 0, producer: connector.principal, requestSignature: null }
  const admission = createEntryAdmission({
    findPrincipal: () => ({ kind: 'agent', status: 'active', keys: null }),
    hasReceiver: () => false,
    trust: { trustDomain: 'a.test', fabricKey: new Uint8Array(32) },
    verify: verifyEd25519,
    hash: sha256,
    isApproved: () => Promise.resolve(true),
    isProvenRequest: () => Promise.resolve(true),
    decisionFault: () => null,
    ledger: { slot: 'a', appendBatch, explain: () => proving.promise, openIntent: () => intent },
  })
  const stolen = admission.claim([ending(other.principal)], other, now)
  const own = admission.claim([ending()], connector, now)
  const copy = await admission.claim([ending()], connector, now)
  expect(copy).toMatchObject({ code: 'OVERLOADED', limit: 'mesh.endingsAtOnce, 1' })
  const later = ending()
  const mixed = admission.claim([later, beside], connector, now)
  proving.resolve([])
  expect(await stolen).toMatchObject({ code: 'NOT_PERMITTED' })
  const claim = await own
  if (claim instanceof Refusal) throw new Error(claim.detail)
  expect(claim.admitted.size).toBe(1)
  expect(await mixed).toMatchObject({ limits: new Map([[later, 'mesh.endingsAtOnce, 1']]) })
  claim.release()
  expect(await admission.claim([ending()], connector, now)).not.toBeInstanceOf(Refusal)
})
