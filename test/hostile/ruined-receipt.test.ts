import { randomBytes, sign } from 'node:crypto'
import {
  createSignatureBase,
  createSignatureInput,
  type MeshFact,
  responseSignatureTag,
  utf8,
} from '@countersign/protocol'
import { type Identity, verify } from '@countersign/sdk'
import fc from 'fast-check'
import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { attestedBy, rawKeyOf } from '../harness/attested.ts'
import { agentId, send } from '../harness/doors.ts'
import { meshEntry, newExchange, record } from '../harness/entries.ts'
import { sha256 } from '../harness/signed.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Facts = Readonly<Record<string, MeshFact | null>>

/**
 * Returns the facts of the callee's signature for the request whose facts are given, or for
 * something like it.
 */
function answeredBy(callee: Identity, asked: Facts, how: Partial<Answering> = {}): Facts {
  const { tag = responseSignatureTag, covered = asked['request.signature'], body = '{}' } = how
  const input = createSignatureInput({
    components: ['"@status"', '"signature";req'],
    created: Math.floor(Date.now() / 1000),
    ...{ keyId: callee.signing.keyId, tag },
  })
  const signature = Buffer.from(covered as Uint8Array).toString('base64')
  const base = createSignatureBase(input, {
    response: { status: 200, headers: [] },
    request: {
      ...{ method: 'POST', path: '/', authority: '' },
      headers: [['signature', `caller=:${signature}:`]],
    },
  })
  return {
    'attested.response': 'callee',
    'response.key': rawKeyOf(callee),
    'response.signature': new Uint8Array(sign(null, utf8(base), callee.signing.privateKey)),
    'response.signature-base': base,
    'response.digest': sha256(Buffer.from(body)),
    'response.forwarded-digest': null,
  }
}

interface Answering {
  readonly tag: string
  /** The signature that is claimed to be the request's. */
  readonly covered: MeshFact | null
  readonly body: string
}

const noContent = ''
const garbage = { 'response.signature': new Uint8Array(randomBytes(64)) }

/** Facts that no verifier would accept. */
const ruinousIntents: Readonly<Record<string, (asked: Facts) => Facts>> = {
  'another digest than was signed': () => ({ 'request.digest': sha256(Buffer.from('other')) }),
  'no digest of what was signed': () => ({ 'request.digest': null }),
  'a signature without its base': () => ({ 'request.signature-base': null }),
  'a signature of another base': (asked) => ({
    'request.signature-base': String(asked['request.signature-base']).replace('POST', 'PUT'),
  }),
  'a signature of which one bit is another': (asked) => ({
    'request.signature': (asked['request.signature'] as Uint8Array).map((byte, at) =>
      at === 40 ? byte ^ 1 : byte,
    ),
  }),
  'another method than was signed': () => ({ operation: 'DELETE' }),
  'no signature, by a signature': () => ({ 'attested.request': 'connector' }),
}

const ruinousOutcomes: Readonly<Record<string, (callee: Identity, asked: Facts) => Facts>> = {
  'a signature that is none': (callee, asked) => ({ ...answeredBy(callee, asked), ...garbage }),
  'a base that is none': (callee, asked) => ({
    ...answeredBy(callee, asked),
    'response.signature-base': 'x',
  }),
  'the digest of what was not signed': (callee, asked) =>
    answeredBy(callee, asked, { body: '{"other":1}' }),
  'the answer to another request': (callee, asked) =>
    answeredBy(callee, asked, { body: noContent, covered: new Uint8Array(randomBytes(64)) }),
  'a signature for another purpose': (callee, asked) =>
    answeredBy(callee, asked, { body: noContent, tag: 'countersign' }),
  'half a signature': () => ({ 'attested.response': 'callee' }),
  'a signature without a claimed signer': (callee, asked) => ({
    ...answeredBy(callee, asked, { body: noContent }),
    'attested.response': 'connector',
  }),
}

async function receiptOf(world: World, exchange: string) {
  const heard = await send(world.control, {
    ...{ method: 'GET', path: `/v1/receipts/${exchange}`, body: null },
    as: world.caller.credential(),
  })
  expect(heard.status).toBe(200)
  return verify(heard.body, world.caller.trust)
}

const asked = ({ caller }: World) => ({ ...attestedBy(caller), protocol: 'http' })

async function refusedIntent(world: World, change: (asked: Facts) => Facts): Promise<void> {
  const facts = asked(world)
  const bad = meshEntry({ facts: { ...facts, ...change(facts) } })
  expect((await record(world, [bad])).status).toBe(403)
  await expect(world.explain(bad.exchange)).rejects.toThrow()
  // Its nonce was not used up: the honest entry can still be recorded, and the receipt verifies.
  const exchange = newExchange()
  expect((await record(world, [meshEntry({ exchange, facts })])).status).toBe(200)
  await record(world, [meshEntry({ exchange, kind: 'outcome' })])
  expect((await receiptOf(world, exchange)).request.by).toBe('caller')
}

async function refusedOutcome(
  world: World,
  change: (callee: Identity, asked: Facts) => Facts,
): Promise<void> {
  const thief = await world.agent('thief', ['caller'])
  const facts = asked(world)
  const exchange = newExchange()
  expect((await record(world, [meshEntry({ exchange, facts })])).status).toBe(200)
  const bad = meshEntry({ exchange, kind: 'outcome', facts: change(thief, facts) })
  expect((await record(world, [bad])).status).toBe(403)
  const good = meshEntry({
    ...{ exchange, kind: 'outcome' },
    facts: answeredBy(thief, facts, { body: noContent }),
  })
  expect((await record(world, [good])).status).toBe(200)
  const receipt = await receiptOf(world, exchange)
  expect([receipt.request.by, receipt.response.by]).toEqual(['caller', 'callee'])
}

/** Any change of what an honest connector records, by values that other facts have as well. */
const changes = fc.dictionary(
  fc.constantFrom(
    ...['protocol', 'operation', 'tool', 'caller', 'attested.request', 'request.digest'],
    ...['request.key', 'request.signature', 'request.signature-base', 'request.forwarded-digest'],
    ...['result', 'code', 'attested.response', 'response.key', 'response.signature', 'masked'],
    ...['response.signature-base', 'response.digest', 'transcript', 'events', 'private.request'],
  ),
  fc.constantFrom<MeshFact | null>(
    ...[null, '', 'POST', 'GET', 'tools/call', 'stream', 'http', 'mcp', 'a2a', 'connector'],
    ...['caller', 'callee', 'delivered', 'unknown', 'withheld', 'NOT_PERMITTED', 'card:1', 1],
    ...[new Uint8Array(32), new Uint8Array(64), sha256(new Uint8Array(0)), '{}'],
    agentId('caller'),
  ),
  { maxKeys: 3 },
)

attack(verifies(['receipt:whatever-is-recorded'], 'a receiver cannot ruin its caller’s receipt'), {
  gateway: 'the fabric makes its own entries',
  mesh: {
    ...Object.fromEntries(
      Object.entries(ruinousIntents).map(([name, change]) => [
        `an intent with ${name}`,
        (world: World) => refusedIntent(world, change),
      ]),
    ),
    ...Object.fromEntries(
      Object.entries(ruinousOutcomes).map(([name, change]) => [
        `an outcome with ${name}`,
        (world: World) => refusedOutcome(world, change),
      ]),
    ),
    'every admitted exchange verifies': async (world) => {
      const thief = await world.agent('thief', ['caller'])
      await fc.assert(
        fc.asyncProperty(fc.boolean(), changes, changes, async (isSigned, first, last) => {
          const exchange = newExchange()
          const facts = isSigned ? asked(world) : {}
          const opening = meshEntry({ exchange, facts: { ...facts, ...first } })
          if ((await record(world, [opening])).status !== 200) return
          const answer = isSigned ? answeredBy(thief, facts, { body: noContent }) : {}
          const tried = meshEntry({ exchange, kind: 'outcome', facts: { ...answer, ...last } })
          if ((await record(world, [tried])).status !== 200) {
            await record(world, [meshEntry({ exchange, kind: 'outcome' })])
          }
          expect((await receiptOf(world, exchange)).exchange).toBe(exchange)
        }),
        { numRuns: 150 },
      )
    },
  },
  queue: 'the fabric makes its own entries',
})
