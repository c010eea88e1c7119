import {
  encodePackedBatch,
  type MeshEntry,
  type MeshFact,
  type PackedEntry,
} from '@countersign/protocol'
import fc from 'fast-check'
import { expect } from 'vitest'
import { encodeCbor } from '../../packages/protocol/src/encoding/cbor.ts'
import { attack } from '../harness/attack.ts'
import { refusalOf } from '../harness/doors.ts'
import {
  decidedIn,
  indexesOf,
  meshEntry,
  newExchange,
  record,
  sendBatch,
} from '../harness/entries.ts'
import { packedAs, packedEntry, statedBatch } from '../harness/stated-batches.ts'
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

/** Records entries in whatever form, of which one was packed as an honest connector does. */
async function indexesOfPacked(world: World, entries: readonly PackedEntry[]) {
  const thief = await world.agent('thief', ['caller'])
  const statement = statedBatch(thief, entries)
  const heard = await sendBatch(world, thief, encodePackedBatch({ statement, entries }))
  return (JSON.parse(heard.body.toString()) as { indexes: unknown[] }).indexes
}

/** An entry that would be recorded, and as it is packed. */
async function plain(world: World): Promise<{ entry: MeshEntry; packed: PackedEntry }> {
  const thief = await world.agent('thief', ['caller'])
  const [entry] = await decidedIn(world, [meshEntry()])
  if (entry === undefined) throw new Error('there is no entry')
  return { entry, packed: packedAs(thief, entry) }
}

/** Leaves and details that no connector encodes. */
function oddForms({ entry, packed }: Awaited<ReturnType<typeof plain>>): readonly PackedEntry[] {
  const { leaf, detail } = packed
  const nothing = new Uint8Array(0)
  const longer = (bytes: Uint8Array) => Uint8Array.of(...bytes, 0)
  return [
    { leaf: nothing, detail: nothing },
    { leaf: encodeCbor(null), detail },
    { leaf: encodeCbor([2, entry.exchange, 'intent', 1]), detail },
    { leaf: new Uint8Array(9_000), detail },
    // Bytes behind the leaf, and a head that is not in its shortest form.
    { leaf: longer(leaf), detail },
    { leaf: Uint8Array.of(0x98, 5, ...leaf.subarray(1)), detail },
    { leaf: Uint8Array.of(0x85, 0x18, 2, ...leaf.subarray(2)), detail },
    { leaf, detail: nothing },
    { leaf, detail: longer(detail) },
    { leaf, detail: detail.subarray(0, -1) },
    { leaf, detail: detail.with(0, (detail[0] ?? 0) ^ 1) },
    { leaf, detail: Uint8Array.of(...detail, ...detail) },
    packedEntry({ ...entry, kind: 'batch' }),
    packedEntry({ ...entry, facts: {} }),
    packedEntry({ ...entry, exchange: 'exc_0' }),
  ]
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
      'entries in another form than a connector’s': async (world) => {
        const odd = oddForms(await plain(world))
        const indexes = await indexesOfPacked(world, [...odd, (await plain(world)).packed])
        expect(indexes).toEqual([...odd.map(() => null), expect.any(Number)])
      },
      'values that are not facts': async (world) => {
        for (const value of [null, [], [1], new Map(), 2n ** 60n]) {
          const { entry } = await plain(world)
          const thief = await world.agent('thief', ['caller'])
          const facts = { ...entry.facts, tool: value as unknown as MeshFact }
          const entries = [packedAs(thief, { ...entry, facts }), (await plain(world)).packed]
          expect(await indexesOfPacked(world, entries)).toEqual([null, expect.any(Number)])
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
      // Alone: with its neighbours, the body would be over the limit of this fabric.
      'a text of 60,001 bytes': async (world) => {
        const text = `${request()}${' '.repeat(60_001 - request().length)}`
        const bad = meshEntry({ facts: { 'private.request': text } })
        expect(refusalOf(await record(world, [bad]))).toBe('MESSAGE_MALFORMED')
        await expect(world.explain(bad.exchange)).rejects.toThrow()
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
