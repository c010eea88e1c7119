import { formatSpiffeId, type MeshFact } from '@countersign/protocol'
import { verify } from '@countersign/sdk'
import fc from 'fast-check'
import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { agentId, send, trustDomain } from '../harness/doors.ts'
import { indexesOf, meshEntry, newExchange, record } from '../harness/entries.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const id = (kind: 'agent' | 'user' | 'fabric', name: string, domain = trustDomain) =>
  formatSpiffeId({ trustDomain: domain, kind, name, instance: null })

/** Callers that the fabric does not know, each a smaller step from one that it does. */
const forged: Readonly<Record<string, MeshFact | null>> = {
  'the fabric itself': id('fabric', 'gateway'),
  'the fabric as an agent': id('agent', 'fabric'),
  'an agent that does not exist': id('agent', 'nobody'),
  'a user that does not exist': id('user', 'nobody'),
  'a user as an agent': id('agent', 'operator'),
  'an agent as a user': id('user', 'caller'),
  'an agent of another trust domain': id('agent', 'caller', 'evil.example'),
  'a trust domain that begins alike': id('agent', 'caller', `${trustDomain}.evil.example`),
  'a bare name': 'caller',
  'an empty name': '',
  'upper case': agentId('caller').toUpperCase(),
  'an instance of the agent': `${agentId('caller')}/prod`,
  'an instance that is named like the fabric': `${agentId('caller')}/fabric`,
  'a path below the agent': `${agentId('caller')}/a/b`,
  'a query': `${agentId('caller')}?x`,
  'a blank at the end': `${agentId('caller')} `,
  bytes: Buffer.from(agentId('caller')),
  'a flag': true,
  'no caller at all': null,
}

async function refusedAlone(world: World, caller: MeshFact | null): Promise<void> {
  const kinds = caller === null ? (['intent'] as const) : (['intent', 'refusal'] as const)
  for (const kind of kinds) {
    const bad = meshEntry({ kind, facts: { caller } })
    expect(await indexesOf(world, [bad, meshEntry()])).toEqual([null, expect.any(Number)])
    await expect(world.explain(bad.exchange)).rejects.toThrow()
  }
}

async function receiptOf(world: World, exchange: string) {
  const path = `/v1/receipts/${exchange}`
  const as = (await world.agent('thief', ['caller'])).credential()
  const heard = await send(world.control, { method: 'GET', path, body: null, as })
  return verify(heard.body, world.caller.trust)
}

attack(
  verifies(['record:attestor'], 'a connector attests for no principal that the fabric lacks'),
  {
    gateway: 'the fabric attests what it saw itself',
    mesh: {
      ...Object.fromEntries(
        Object.entries(forged).map(([name, caller]) => [
          name,
          (world: World) => refusedAlone(world, caller),
        ]),
      ),
      'any other text': async (world) => {
        const text = fc.string({ unit: 'binary', maxLength: 80 })
        const wrong = fc.oneof(
          text,
          text.map((name) => `spiffe://${trustDomain}/agent/${name}`),
        )
        await fc.assert(
          fc.asyncProperty(
            wrong.filter(
              (each) => each.isWellFormed() && each !== `spiffe://${trustDomain}/agent/caller`,
            ),
            async (caller) => {
              const bad = meshEntry({ facts: { caller } })
              expect(await indexesOf(world, [bad, meshEntry()])).toEqual([null, expect.any(Number)])
            },
          ),
          { numRuns: 40 },
        )
      },
      'an agent that is quarantined': async (world) => {
        await world.agent('lapsed', ['caller'])
        await world.admin('agent.quarantine', { name: 'lapsed', reason: 'test' })
        const caller = agentId('lapsed')
        const intent = meshEntry({ facts: { caller } })
        const refusal = meshEntry({ kind: 'refusal', facts: { caller, code: 'AGENT_QUARANTINED' } })
        // A refusal of it is what an honest connector records.
        expect(await indexesOf(world, [intent, refusal])).toEqual([null, expect.any(Number)])
      },
      'a known caller that signed nothing is attested by the connector, never by the fabric':
        async (world) => {
          const exchange = newExchange()
          expect((await record(world, [meshEntry({ exchange })])).status).toBe(200)
          expect((await record(world, [meshEntry({ exchange, kind: 'outcome' })])).status).toBe(200)
          const receipt = await receiptOf(world, exchange)
          const producer = agentId('thief')
          expect(receipt.request).toEqual({ by: 'connector', producer, signature: null })
          expect(receipt.response).toEqual({ by: 'connector', producer, signature: null })
          expect(receipt.entries.map((entry) => entry.producer)).toEqual([producer, producer])
        },
      'as the fabric': async (world) => {
        const intent = meshEntry({ facts: { 'attested.request': 'fabric' } })
        expect(await indexesOf(world, [intent, meshEntry()])).toEqual([null, expect.any(Number)])
        const exchange = newExchange()
        await record(world, [meshEntry({ exchange })])
        const outcome = meshEntry({
          ...{ exchange, kind: 'outcome' },
          facts: { 'attested.response': 'fabric' },
        })
        expect((await record(world, [outcome])).status).toBe(400)
      },
      'in the name of another connector': async (world) => {
        const intent = meshEntry({ facts: { producer: agentId('echo') } })
        expect(await indexesOf(world, [intent, meshEntry()])).toEqual([null, expect.any(Number)])
      },
      'a refusal of its own agent by another receiver is stated by the connector': async (
        world,
      ) => {
        const exchange = newExchange()
        const facts = { caller: agentId('thief'), receiver: 'echo' }
        await record(world, [meshEntry({ exchange, kind: 'refusal', facts })])
        const receipt = await receiptOf(world, exchange)
        expect(receipt.entries[0]?.producer).toBe(agentId('thief'))
        expect(receipt.ending).toEqual({ result: 'refused', code: 'RATE_LIMITED' })
      },
    },
    queue: 'the fabric attests what it saw itself',
  },
)
