import { randomBytes } from 'node:crypto'
import { createId, formatMeshEntries, type MeshEntry } from '@countersign/protocol'
import { expect } from 'vitest'
import { agentId, send } from '../harness/doors.ts'
import { lie } from '../harness/lie.ts'
import { exchangeOf, refusedByFabric } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const newExchange = () => createId('dec', Date.now(), new Uint8Array(randomBytes(10)))

const entry = (change: Partial<MeshEntry>): MeshEntry => ({
  ...{ kind: 'intent', exchange: newExchange(), at: Date.now() },
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
