import type { MeshEntry, MeshFact } from '@countersign/protocol'
import { expect } from 'vitest'
import type { PolicyRequest } from '../../packages/fabric/src/policy/policy.ts'
import { agentId } from '../harness/doors.ts'
import { decidedIn, meshEntry, record } from '../harness/entries.ts'
import { lie, newName, type Telling } from '../harness/lie.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Facts = Readonly<Record<string, MeshFact | null>>

/** An intent with the decision that an honest connector states. */
async function honestIntent(
  world: World,
  facts: Facts = {},
  caller: Parameters<typeof decidedIn>[2] = {},
): Promise<MeshEntry> {
  await world.agent('thief', ['caller'])
  const [entry] = await decidedIn(world, [meshEntry({ facts })], caller)
  if (entry === undefined) throw new Error('there is no entry')
  return entry
}

async function expectUntaken(world: World, entry: MeshEntry): Promise<void> {
  const heard = await record(world, [entry])
  expect(heard.headers.get('countersign-refusal')).toEqual(['NOT_PERMITTED'])
  await expect(world.explain(entry.exchange)).rejects.toThrow()
}

const changedTo =
  (facts: Facts): Telling =>
  async (world) => {
    const honest = await honestIntent(world)
    expect((await record(world, [honest])).status).toBe(200)
    const made = { ...honest.facts, ...facts }
    await expectUntaken(world, meshEntry({ facts: made }))
  }

lie(
  verifies(
    ['record:reproducible-decision'],
    'a decision that a connector states is one of this fabric’s policies',
  ),
  {
    mesh: {
      'by a version that was never in force': changedTo({ 'policy.version': 'c'.repeat(64) }),
      'by rules that do not exist': changedTo({ 'policy.rules': 'board-resolution' }),
      'by rules that did not decide it': changedTo({ 'policy.rules': 'open' }),
      'by further rules': changedTo({ 'policy.rules': 'recorded open' }),
      'by no rules': changedTo({ 'policy.rules': '' }),
      'without the request': changedTo({ 'private.request': null }),
      'without the rules': changedTo({ 'policy.rules': null }),
      'without the version': changedTo({ 'policy.version': null }),
      'of a caller with roles that it does not have': async (world) => {
        await world.agent('plain', [])
        const caller = agentId('plain')
        const claimed = await honestIntent(world, { caller }, { roles: ['caller'] })
        expect(claimed.facts['policy.rules']).toBe('recorded')
        await expectUntaken(world, claimed)
      },
      'of a caller that policy denies': async (world) => {
        await world.agent('plain', [])
        const denied = await honestIntent(world, { caller: agentId('plain') })
        expect(denied.facts['policy.rules']).toBe('')
        await expectUntaken(world, denied)
      },
      'of a request for something else': async (world) => {
        const { facts } = await honestIntent(world)
        const honest = JSON.parse(String(facts['private.request'])) as PolicyRequest
        const { resource, context } = honest
        // Each of them would be permitted, or decided by rules of its own.
        const others: readonly PolicyRequest[] = [
          { ...honest, action: 'discover' },
          { ...honest, action: 'publish', resource: { ...resource, kind: 'channel' } },
          { ...honest, resource: { ...resource, kind: 'channel' } },
          { ...honest, action: 'administer' },
          { ...honest, context: { ...context, signed: true } },
          { ...honest, context: { ...context, method: 'token' } },
          { ...honest, context: { ...context, labels: ['public'] } },
        ]
        for (const other of others) {
          const about = { facts: { 'private.request': JSON.stringify(other) } }
          const [entry] = await decidedIn(world, [meshEntry(about)])
          if (entry === undefined) throw new Error('there is no entry')
          await expectUntaken(world, entry)
        }
      },
      'of a refusal, by made-up rules': async (world) => {
        const { facts } = await honestIntent(world)
        const { 'policy.version': version = '', 'private.request': request = '' } = facts
        const stated = { 'policy.version': version, 'private.request': request }
        const made = { ...stated, 'policy.rules': 'board-resolution' }
        await expectUntaken(world, meshEntry({ kind: 'refusal', facts: made }))
      },
      'of one superseded, which a connector can still have gone by': async (world) => {
        const name = newName('superseding')
        const stated = await honestIntent(world)
        const text = `@id("${name}") forbid(principal == Agent::"${name}", action, resource);`
        await world.admin('policy.put', { name: `${name}.cedar`, text })
        const { version } = (await world.admin('policy.show')) as { readonly version: string }
        expect(stated.facts['policy.version']).not.toBe(version)
        expect((await record(world, [stated])).status).toBe(200)
      },
    },
    gateway: 'the fabric decides and records by itself',
    queue: 'the fabric decides and records by itself',
  },
)
