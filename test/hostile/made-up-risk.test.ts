import type { MeshFact } from '@countersign/protocol'
import { expect } from 'vitest'
import { attack, newName, worldOfFile } from '../harness/attack.ts'
import { attestedBy } from '../harness/attested.ts'
import { agentId, send } from '../harness/doors.ts'
import { meshEntry, newExchange, recordInTurn } from '../harness/entries.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const POLICY = `@id("risky")
forbid(principal, action == Action::"call", resource) when { context.risk >= 50 };`

type Facts = Readonly<Record<string, MeshFact>>

/** Those that a receipt accepts of a signed request whose content is only known by its digest. */
const operations = ['tools/call', 'tools/list', 'resources/read', 'prompts/get', 'ping'] as const

/** The statements of connectors of receivers about requests that their victim signed. */
const stated: Readonly<Record<string, (i: number) => readonly [intent: Facts, outcome: Facts]>> = {
  'one credential': () => [{ masked: 'credential:1' }, {}],
  'any number of findings': () => [{ masked: 'credential:999999999 card:999999999' }, {}],
  'tools of its choice': (i) => [{ tool: `tool ${i}` }, {}],
  'operations of its choice': (i) => [{ operation: operations[i % operations.length] ?? '' }, {}],
  'sizes of its choice': () => [{ 'request.bytes': 2 ** 40 }, { 'response.bytes': 2 ** 40 }],
  'all of it': (i) => [
    { masked: 'credential:9 card:999999999', tool: `tool ${i}`, 'request.bytes': 2 ** 40 },
    { 'response.bytes': 2 ** 40, 'response.masked': 'credential:99' },
  ],
}

async function frame(world: World, facts: (i: number) => readonly [Facts, Facts]): Promise<void> {
  await world.admin('policy.put', { name: 'risk.cedar', text: POLICY })
  const victim = await world.agent(newName('victim'), ['caller'])
  const connectors = [newName('thief'), newName('second-thief')]
  const stating = connectors.map(async (producer, which) => {
    const batches = Array.from({ length: 65 }, (_, half) => {
      const i = 2 * half + which
      const exchange = newExchange()
      const [intent, outcome] = facts(i)
      const proof = attestedBy(victim, { body: `{"n":${i}}`, to: producer })
      const called = { protocol: 'mcp', operation: 'tools/call', tool: 'refund' }
      const named = { ...called, caller: agentId(victim.name), receiver: producer }
      const opening = meshEntry({ exchange, facts: { ...proof, ...named, ...intent } })
      return [[opening], [meshEntry({ exchange, kind: 'outcome', facts: outcome })]]
    }).flat()
    const answers = await recordInTurn(world, batches, producer)
    expect(answers).toHaveLength(batches.length)
    const openings = answers.filter((_, at) => at % 2 === 0)
    expect(openings.map(({ status }) => status)).toEqual(openings.map(() => 200))
  })
  await Promise.all(stating)
  const { risk } = (await world.admin('agent.show', { name: victim.name })) as { risk: number }
  expect(risk).toBeLessThan(15)
  // Its first call of a new receiver, which adds a signal of its own, passes as well.
  expect((await send(world.gateway, { as: victim.credential() })).status).toBe(200)
}

const inWorld = worldOfFile({ receivers: ['echo'] })

attack(verifies(['detection:by-others'], 'a connector cannot have policy shut out another agent'), {
  gateway: 'the fabric counts what it saw itself',
  mesh: Object.fromEntries(
    Object.entries(stated).map(([name, facts]) => [
      name,
      () => inWorld((world) => frame(world, facts)),
    ]),
  ),
  queue: 'the fabric counts what it saw itself',
})
