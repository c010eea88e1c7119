import { formatMeshEntries, type MeshEntry, type MeshFact } from '@countersign/protocol'
import fc from 'fast-check'
import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { decidedIn, indexesOf, meshEntry, newExchange, record } from '../harness/entries.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const request = (change: object = {}) =>
  JSON.stringify({
    principal: { kind: 'agent', name: 'caller', roles: ['caller'], segment: '', attributes: {} },
    action: 'call',
    resource: { kind: 'agent', name: 'thief', roles: ['caller'], segment: '', attributes: {} },
    context: {
      ...{ transport: 'mesh', protocol: 'http', operation: 'POST', tool: '' },
      ...{ method: 'certificate', signed: false, risk: 0, labels: [], time: 1 },
    },
    ...change,
  })

/** Facts of an intent that the ledger cannot hold, or that could not be read again. */
const poison: Readonly<Record<string, Readonly<Record<string, MeshFact>>>> = {
  'a request to policy that ends early': { 'private.request': '{"a":' },
  'a request to policy that is none': { 'private.request': '{}' },
  'a request to policy that nests deeply': { 'private.request': '['.repeat(20_000) },
  'a request to policy with a member twice': {
    'private.request': request().replace('{', '{"action":"call",'),
  },
  'a request to policy without a principal': { 'private.request': request({ principal: null }) },
  'a request to policy of another caller': {
    'private.request': request({
      principal: { kind: 'user', name: 'operator', roles: [], segment: '', attributes: {} },
    }),
  },
  'a text of 60,001 bytes': {
    'private.request': `${request()}${' '.repeat(60_001 - request().length)}`,
  },
  'a digest of 31 bytes': { 'request.digest': new Uint8Array(31) },
  'a digest as text': { 'request.digest': 'sha-256' },
  'an integer as a name': { operation: 7 },
  'an empty operation': { operation: '' },
  'an operation of 257 characters': { operation: 'x'.repeat(257) },
  'an unknown fact': { colour: 'red' },
  'an unknown private fact': { 'private.notes': 'x' },
  'a name that is not a fact name': { 'Not A Name': 'x' },
  'a member that every object has': { constructor: 'x' },
  'the signature of an acknowledgement': { 'ack.countersignature': new Uint8Array(64) },
  'the content that an acknowledgement signs': { 'ack.countersigned': new Uint8Array(50) },
  'the key of an acknowledgement': { 'ack.key-id': 'another' },
  'the settled messages': { 'settled.ack': '1' },
  'the transport of the gateway': { transport: 'gateway' },
  'the protocol of administration': { protocol: 'admin' },
  'a method of authentication that is none': { 'caller.method': 'trust-me' },
  'a count of masked values that is none': { masked: 'nothing to see here' },
  'a policy version that is none': { 'policy.version': 'latest' },
}

async function refusedAlone(world: World, bad: MeshEntry): Promise<void> {
  const [before, after] = [meshEntry(), meshEntry()]
  const indexes = await indexesOf(world, [before, bad, after])
  expect(indexes).toEqual([expect.any(Number), null, expect.any(Number)])
  await expect(world.explain(bad.exchange)).rejects.toThrow()
  // Neither of its neighbours was orphaned: both can still be closed.
  const ends = [before, after].map(({ exchange }) => meshEntry({ exchange, kind: 'outcome' }))
  const closed = await indexesOf(world, ends)
  expect(closed).toEqual([expect.any(Number), expect.any(Number)])
}

/** A batch as JSON that `formatMeshEntries` would not write. */
async function sendRaw(world: World, entries: readonly unknown[]) {
  const as = (await world.agent('thief', ['caller'])).credential()
  const text = JSON.stringify({ entries })
  return send(world.control, { path: '/v1/mesh/entries', as, body: text })
}

/** One that would be recorded, as JSON. */
async function plain(world: World): Promise<{ readonly facts: object }> {
  await world.agent('thief', ['caller'])
  const entries = await decidedIn(world, [meshEntry()])
  const [entry] = (JSON.parse(formatMeshEntries(entries)) as { entries: { facts: object }[] })
    .entries
  if (entry === undefined) throw new Error('there is no entry')
  return entry
}

const fact = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }).filter((text) => text.isWellFormed()),
  fc.integer(),
  fc.boolean(),
  fc.uint8Array({ maxLength: 80 }),
)

attack(
  verifies(
    ['record:one-bad-entry', 'record:explain'],
    'one entry that cannot be recorded harms no other, and what is on record can be shown',
  ),
  {
    gateway: 'the fabric makes its own entries',
    mesh: {
      ...Object.fromEntries(
        Object.entries(poison).map(([name, facts]) => [
          name,
          (world: World) => refusedAlone(world, meshEntry({ facts })),
        ]),
      ),
      'elements of a batch that are not entries': async (world) => {
        const odd = [null, 7, 'entry', [], {}, { kind: 'intent' }, { ...meshEntry(), more: 1 }]
        const heard = await sendRaw(world, [...odd, await plain(world)])
        const { indexes } = JSON.parse(heard.body.toString()) as { indexes: unknown[] }
        expect(indexes).toEqual([...odd.map(() => null), expect.any(Number)])
      },
      'values that are not facts': async (world) => {
        for (const value of [null, {}, [], 1.5, 2 ** 53, { b64: '*' }, { b64: 'AA==', more: 1 }]) {
          const entry = await plain(world)
          const bad = { ...entry, facts: { ...entry.facts, tool: value } }
          const heard = await sendRaw(world, [bad, await plain(world)])
          const { indexes } = JSON.parse(heard.body.toString()) as { indexes: unknown[] }
          expect(indexes).toEqual([null, expect.any(Number)])
        }
      },
      'every admitted entry is recorded, shown and closed': async (world) => {
        const names = ['tool', 'operation', 'masked', 'policy.rules', 'private.request', 'status']
        await fc.assert(
          fc.asyncProperty(
            fc.constantFrom<MeshEntry['kind']>('intent', 'refusal'),
            fc.dictionary(fc.constantFrom(...names), fact, { maxKeys: 3 }),
            async (kind, facts) => {
              const tried = meshEntry({ kind, facts })
              const indexes = await indexesOf(world, [tried, meshEntry()])
              expect(indexes[1]).toEqual(expect.any(Number))
              if (indexes[0] === null) return
              const entries = await world.explain(tried.exchange)
              expect(entries).toHaveLength(1)
              const shown = await world.admin('policy.explain', { exchange: tried.exchange })
              expect(shown).toMatchObject({ exchange: tried.exchange })
            },
          ),
          { numRuns: 60 },
        )
      },
      'one that states only permitted facts is recorded': async (world) => {
        const exchange = newExchange()
        const intent = meshEntry({ exchange, facts: { 'private.request': request() } })
        expect((await record(world, [intent])).status).toBe(200)
        expect(await world.admin('policy.explain', { exchange })).toMatchObject({
          policy: { text: expect.any(String) as string },
        })
      },
    },
    queue: 'the fabric makes its own entries',
  },
)
