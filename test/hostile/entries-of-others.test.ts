import { createPublicKey, randomBytes, sign } from 'node:crypto'
import {
  createId,
  createSignatureBase,
  createSignatureInput,
  formatMeshEntries,
  type MeshEntry,
  requestSignatureTag,
  utf8,
} from '@countersign/protocol'
import { expect } from 'vitest'
import { agentId, send } from '../harness/doors.ts'
import { lie } from '../harness/lie.ts'
import { exchangeOf, refusedByFabric } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const tenBytes = () => new Uint8Array(randomBytes(10))
const newExchange = () => createId('dec', Date.now(), tenBytes())

const entry = (change: Partial<MeshEntry>): MeshEntry => ({
  ...{ kind: 'intent', exchange: newExchange() },
  facts: { receiver: 'thief', caller: agentId('caller') },
  ...change,
})

/** Entries that the connector of the agent `thief` claims to have decided. */
const claim = (entriesOf: (world: World) => Promise<readonly Partial<MeshEntry>[]>) =>
  refusedByFabric('NOT_PERMITTED', async (world) => ({
    path: '/v1/mesh/entries',
    as: (await world.agent('thief', ['caller'])).credential(),
    body: formatMeshEntries((await entriesOf(world)).map(entry)),
  }))

const own = { receiver: 'thief', caller: agentId('caller') }
/** What an honest connector records of a request that the caller signed for `to`. */
function attested({ caller }: World, to = 'thief'): MeshEntry['facts'] {
  const { keyId, privateKey } = caller.signing
  const input = createSignatureInput({
    components: ['"@method"', '"@path"', '"countersign-to"'],
    created: Math.floor(Date.now() / 1000),
    nonce: randomBytes(18).toString('base64url'),
    ...{ keyId, tag: requestSignatureTag },
  })
  const headers = [['countersign-to', agentId(to)]] as const
  const base = createSignatureBase(input, { method: 'POST', path: '/', authority: '', headers })
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return {
    ...own,
    'attested.request': 'caller',
    'request.key': new Uint8Array(spki.subarray(-32)),
    'request.signature': new Uint8Array(sign(null, utf8(base), privateKey)),
    'request.signature-base': base,
  }
}

const foreign = { receiver: 'echo', caller: agentId('caller') }
const taken = async (world: World) => ({ exchange: exchangeOf(await send(world.gateway)) })

lie(
  verifies(
    ['record:append-only', 'record:explain', 'admin:same-pipeline'],
    'history that is not a connector’s own is not written',
  ),
  {
    gateway: 'a connector writes history of the mesh',
    mesh: {
      'an intent of another receiver': claim(async () => [{ facts: foreign }]),
      'a refusal of another receiver': claim(async () => [{ kind: 'refusal', facts: foreign }]),
      'an intent without a receiver': claim(async () => [{ facts: {} }]),
      'an outcome without an intent': claim(async () => [{ kind: 'outcome' }]),
      'an outcome of an exchange at the gateway': claim(async (world) => [
        { ...(await taken(world)), kind: 'outcome' },
      ]),
      'a refusal in an exchange at the gateway': claim(async (world) => [
        { ...(await taken(world)), kind: 'refusal' },
      ]),
      'an intent in an exchange at the gateway': claim(async (world) => [await taken(world)]),
      'one of its own, and one of another': claim(async () => [{}, { facts: foreign }]),
      'a request that its caller signed, over a key that was made up': claim(async () => [
        { facts: { ...own, 'attested.request': 'caller', 'request.key': randomBytes(32) } },
      ]),
      'a request that its caller signed, without a key or a signature': claim(async () => [
        { facts: { ...own, 'attested.request': 'caller' } },
      ]),
      'a request that its caller signed, over other bytes': claim(async (world) => [
        { facts: { ...attested(world), 'request.signature-base': 'x' } },
      ]),
      'a request that its caller signed for another': claim(async (world) => [
        { facts: attested(world, 'echo') },
      ]),
      'a refusal with the caller’s signature': claim(async (world) => [
        { kind: 'refusal', facts: attested(world) },
      ]),
      'one signed request, as two exchanges': async (world) => {
        const thief = await world.agent('thief', ['caller'])
        const facts = attested(world)
        const record = () =>
          send(world.control, {
            ...{ path: '/v1/mesh/entries', as: thief.credential() },
            body: formatMeshEntries([entry({ facts })]),
          })
        expect((await record()).status).toBe(200)
        expect((await record()).status).toBe(403)
      },
      'one request that its caller did not sign, beside one that nobody claims to be signed':
        async (world) => {
          const thief = await world.agent('thief', ['caller'])
          const [honest, forged] = [entry({}), entry({ facts: attested(world, 'echo') })]
          const heard = await send(world.control, {
            ...{ path: '/v1/mesh/entries', as: thief.credential() },
            body: formatMeshEntries([forged, honest]),
          })
          expect(JSON.parse(heard.body.toString())).toEqual({ indexes: [null, expect.any(Number)] })
          await expect(world.explain(forged.exchange)).rejects.toThrow('RECEIVER_UNKNOWN')
          expect((await world.explain(honest.exchange)).map(({ kind }) => kind)).toEqual(['intent'])
          const [refusal] = await world.explain(exchangeOf(heard))
          expect(refusal?.facts).toMatchObject({ code: 'NOT_PERMITTED', caller: agentId('thief') })
        },
      'an exchange that another request is just recording': async (world) => {
        const thief = await world.agent('thief', ['caller'])
        const body = formatMeshEntries([entry({})])
        const record = () =>
          send(world.control, { path: '/v1/mesh/entries', as: thief.credential(), body })
        const statuses = (await Promise.all([record(), record()])).map(({ status }) => status)
        expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 403])
      },
      'a signature that nobody is said to have made': claim(async () => [
        { facts: { ...own, 'request.signature': randomBytes(64) } },
      ]),
      'an answer that its own agent signed, without a signature': claim(async () => [
        { facts: { ...own, 'attested.response': 'callee' } },
      ]),
      'what the fabric signs': claim(async () => [
        { facts: { ...own, 'forwarded.signature': randomBytes(64) } },
      ]),
      'an exchange of last year': claim(async () => [
        { exchange: createId('dec', Date.now() - 365 * 86_400_000, tenBytes()) },
      ]),
      'a request of nobody, over a key': claim(async () => [
        { facts: { receiver: 'thief', 'request.key': randomBytes(32) } },
      ]),
      'an answer over a key that is not its own': claim(async () => [
        { facts: { ...own, 'response.key': randomBytes(32) } },
      ]),
      'an intent twice': claim(async () => {
        const exchange = newExchange()
        return [{ exchange }, { exchange }]
      }),
      'by a token, which is no certificate': refusedByFabric('NOT_PERMITTED', async (world) => {
        const made = await world.admin('key.create', {
          agent: (await world.agent('thief', ['caller'])).name,
        })
        return {
          ...{ path: '/v1/mesh/entries', as: null, body: formatMeshEntries([entry({})]) },
          headers: [['X-Api-Key', (made as { key: string }).key]],
        }
      }),
      'a kind that only the fabric writes': refusedByFabric('MESSAGE_MALFORMED', async (world) => ({
        ...{ path: '/v1/mesh/entries', as: (await world.agent('thief', ['caller'])).credential() },
        body: formatMeshEntries([entry({ kind: 'genesis' as 'intent' })]),
      })),
      'and nobody becomes a party to what it claims': async (world) => {
        const { exchange } = await taken(world)
        const thief = await world.agent('thief', ['caller'])
        const body = formatMeshEntries([entry({ exchange, kind: 'refusal' })])
        await send(world.control, { path: '/v1/mesh/entries', as: thief.credential(), body })
        const path = `/v1/receipts/${exchange}`
        const heard = await send(world.control, {
          ...{ method: 'GET', path, body: null, as: thief.credential() },
        })
        expect(heard.status).toBe(403)
        const kinds = (await world.explain(exchange)).map(({ kind }) => kind)
        expect(kinds).toEqual(['intent', 'outcome'])
      },
    },
    queue: 'the fabric records its channels itself',
  },
)
