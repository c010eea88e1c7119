import { randomBytes } from 'node:crypto'
import type { RefusalCode } from '@countersign/protocol'
import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { attestedBy } from '../harness/attested.ts'
import { agentId, send } from '../harness/doors.ts'
import { decidedIn, indexesOf, meshEntry, newExchange, record } from '../harness/entries.ts'
import { exchangeOf, refusedByFabric } from '../harness/refusals.ts'
import { batchBody } from '../harness/stated-batches.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Change = NonNullable<Parameters<typeof meshEntry>[0]>

/** Entries that the connector of the agent `thief` claims to have decided. */
const claim = (entriesOf: (world: World) => Promise<readonly Change[]>, code?: RefusalCode) =>
  refusedByFabric(code ?? 'NOT_PERMITTED', async (world) => {
    const thief = await world.agent('thief', ['caller'])
    const entries = await decidedIn(world, (await entriesOf(world)).map(meshEntry))
    return { path: '/v1/mesh/entries', as: thief.credential(), body: batchBody(thief, entries) }
  })

/** The facts that an honest connector records of a request that the caller signed for `to`. */
const attested = ({ caller }: World, to = 'thief') => attestedBy(caller, { to })

const foreign = { receiver: 'echo' }
/** An exchange that the connector of `thief` opened, to be closed. */
async function opened(world: World) {
  const { exchange } = meshEntry()
  await record(world, [meshEntry({ exchange })])
  return { exchange, kind: 'outcome' as const }
}

const taken = async (world: World) => ({ exchange: exchangeOf(await send(world.gateway)) })

const imaginary = { kind: 'refusal' } as const
const ofThief = { caller: agentId('thief'), receiver: 'imaginary' } as const
const ofUser = { ...ofThief, receiver: 'operator' } as const

attack(
  verifies(
    ['record:append-only', 'record:explain', 'admin:same-pipeline'],
    'history that is not a connector’s own is not written',
  ),
  {
    gateway: 'a connector writes history of the mesh',
    mesh: {
      'an intent of another receiver': claim(async () => [{ facts: foreign }]),
      'a refusal of another receiver': claim(async () => [{ kind: 'refusal', facts: foreign }]),
      'an intent without a receiver': claim(
        async () => [{ facts: { receiver: null } }],
        'MESSAGE_MALFORMED',
      ),
      'an outcome without an intent': claim(async () => [{ kind: 'outcome' }]),
      'an outcome of an exchange at the gateway': claim(async (world) => [
        { ...(await taken(world)), kind: 'outcome' },
      ]),
      'a refusal in an exchange at the gateway': claim(async (world) => [
        { ...(await taken(world)), kind: 'refusal' },
      ]),
      'an intent in an exchange at the gateway': claim(async (world) => [await taken(world)]),
      'one of another, which does not take along one of its own': async (world) => {
        const [own, other] = [meshEntry(), meshEntry({ facts: foreign })]
        expect(await indexesOf(world, [other, own])).toEqual([null, expect.any(Number)])
        await expect(world.explain(other.exchange)).rejects.toThrow('EXCHANGE_UNKNOWN')
      },
      'a request that its caller signed, over a key that was made up': claim(async () => [
        { facts: { 'attested.request': 'caller', 'request.key': randomBytes(32) } },
      ]),
      'a request that its caller signed, without a key or a signature': claim(async () => [
        { facts: { 'attested.request': 'caller' } },
      ]),
      'a request that its caller signed, over other bytes': claim(async (world) => [
        { facts: { ...attested(world), 'request.signature-base': 'x' } },
      ]),
      'a request that its caller signed for another': claim(async (world) => [
        { facts: attested(world, 'echo') },
      ]),
      'a refusal with the caller’s signature': claim(
        async (world) => [{ kind: 'refusal', facts: attested(world) }],
        'MESSAGE_MALFORMED',
      ),
      'that a receiver which does not exist stated a refusal': claim(async () => [
        { ...imaginary, facts: { ...ofThief, code: 'RATE_LIMITED', result: 'stated' } },
      ]),
      'that a user, who receives nothing, stated a refusal': claim(async () => [
        { ...imaginary, facts: { ...ofUser, code: 'RATE_LIMITED', result: 'stated' } },
      ]),
      'that a user may have acted': claim(async () => [
        { ...imaginary, facts: { ...ofUser, code: 'OUTCOME_UNKNOWN', result: 'unknown' } },
      ]),
      'that a receiver which does not exist may have acted': claim(async () => [
        { ...imaginary, facts: { ...ofThief, code: 'OUTCOME_UNKNOWN', result: 'unknown' } },
      ]),
      'that a receiver which does not exist was asked for in vain, which is recorded': async (
        world,
      ) => {
        const entry = meshEntry({ ...imaginary, facts: { ...ofThief, code: 'RECEIVER_UNKNOWN' } })
        expect((await record(world, [entry])).status).toBe(200)
      },
      'one signed request, as two exchanges': async (world) => {
        const facts = attested(world)
        expect((await record(world, [meshEntry({ facts })])).status).toBe(200)
        expect((await record(world, [meshEntry({ facts })])).status).toBe(403)
      },
      'one request that its caller did not sign, next to one without a claim of a signature':
        async (world) => {
          const [honest, forged] = [meshEntry(), meshEntry({ facts: attested(world, 'echo') })]
          const heard = await record(world, [forged, honest])
          expect(JSON.parse(heard.body.toString())).toMatchObject({
            indexes: [null, expect.any(Number)],
          })
          await expect(world.explain(forged.exchange)).rejects.toThrow('EXCHANGE_UNKNOWN')
          expect((await world.explain(honest.exchange)).map(({ kind }) => kind)).toEqual(['intent'])
          const [refusal] = await world.explain(exchangeOf(heard))
          expect(refusal?.facts).toMatchObject({ code: 'NOT_PERMITTED', caller: agentId('thief') })
        },
      'an exchange that another request is just recording': async (world) => {
        const entries = [meshEntry()]
        const answers = await Promise.all([record(world, entries), record(world, entries)])
        const statuses = answers.map(({ status }) => status)
        expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 403])
      },
      'a signature without a claimed signer': claim(async () => [
        { facts: { 'request.signature': randomBytes(64) } },
      ]),
      'an answer that its own agent signed, without a signature': claim(async (world) => [
        { ...(await opened(world)), facts: { 'attested.response': 'callee' } },
      ]),
      'a signature that only the fabric makes': claim(
        async () => [{ facts: { 'forwarded.signature': randomBytes(64) } }],
        'MESSAGE_MALFORMED',
      ),
      'an exchange of last year': claim(async () => [
        { exchange: newExchange(Date.now() - 365 * 86_400_000) },
      ]),
      'a request without a caller, over a key': claim(
        async () => [{ facts: { caller: null, 'request.key': randomBytes(32) } }],
        'MESSAGE_MALFORMED',
      ),
      'an answer over a key that is not its own': claim(async (world) => [
        {
          ...(await opened(world)),
          facts: {
            'attested.response': 'callee',
            'response.key': randomBytes(32),
            'response.signature': randomBytes(64),
            'response.signature-base': 'x',
          },
        },
      ]),
      'an intent twice': async (world) => {
        const exchange = newExchange()
        const indexes = await indexesOf(world, [meshEntry({ exchange }), meshEntry({ exchange })])
        expect(indexes).toEqual([expect.any(Number), null])
        expect((await world.explain(exchange)).map(({ kind }) => kind)).toEqual(['intent'])
      },
      'by a token, which is not a certificate': refusedByFabric('NOT_PERMITTED', async (world) => {
        const thief = await world.agent('thief', ['caller'])
        const made = await world.admin('key.create', { agent: thief.name })
        return {
          ...{ path: '/v1/mesh/entries', as: null, body: batchBody(thief, [meshEntry()]) },
          headers: [['X-Api-Key', (made as { key: string }).key]],
        }
      }),
      'a kind that only the fabric writes': refusedByFabric('MESSAGE_MALFORMED', async (world) => {
        const thief = await world.agent('thief', ['caller'])
        const body = batchBody(thief, [{ ...meshEntry(), kind: 'genesis' as 'intent' }])
        return { path: '/v1/mesh/entries', as: thief.credential(), body }
      }),
      'and a claim makes no agent a party to it': async (world) => {
        const { exchange } = await taken(world)
        const thief = await world.agent('thief', ['caller'])
        await record(world, [meshEntry({ exchange, kind: 'refusal' })])
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
