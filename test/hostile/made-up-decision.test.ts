import type { MeshEntry, MeshFact } from '@countersign/protocol'
import { expect } from 'vitest'
import type { PolicyRequest } from '../../packages/fabric/src/policy/policy.ts'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import { agentId } from '../harness/doors.ts'
import { decidedIn, meshEntry, record } from '../harness/entries.ts'
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
  // A withheld response has no code of policy, whichever party decided.
  const code = entry.facts['result'] === 'withheld' ? 'MESSAGE_MALFORMED' : 'NOT_PERMITTED'
  expect(heard.headers.get('countersign-refusal')).toEqual([code])
  await expect(world.explain(entry.exchange)).rejects.toThrow()
}

/**
 * A refusal with the decision of the world's policies on `caller`, as the caller is or as
 * `claimed`.
 */
async function refusalOf(
  world: World,
  facts: Facts,
  claimed: Parameters<typeof decidedIn>[2] = {},
): Promise<MeshEntry> {
  const caller = facts['caller'] ?? agentId('caller')
  const { facts: stated } = await honestIntent(world, { caller }, claimed)
  const decision = decisionFacts.map((name) => [name, stated[name] ?? ''] as const)
  return meshEntry({ kind: 'refusal', facts: { ...Object.fromEntries(decision), ...facts } })
}

const decisionFacts = ['policy.version', 'policy.rules', 'private.request'] as const
const undecided = Object.fromEntries(decisionFacts.map((name) => [name, null]))

/** Rules that ask for roles of this file alone, so that no other test meets them. */
const rules = `
@id("made-up-plain")
permit(principal in Role::"made-up-plain", action == Action::"call", resource in Role::"caller")
when { context.transport == "mesh" };

@id("made-up-board")
permit(principal in Role::"made-up-board", action == Action::"call", resource in Role::"caller")
when { context.transport == "mesh" };

@id("made-up-approval")
@approval("finance")
permit(principal in Role::"made-up-gated", action == Action::"call", resource in Role::"caller");

@id("made-up-signature")
@sign("request")
permit(principal in Role::"made-up-signer", action == Action::"call", resource in Role::"caller");

@id("made-up-suspects")
forbid(principal in Role::"made-up-suspect", action, resource);

@id("made-up-owner")
permit(principal in Role::"made-up-nothing", action == Action::"call", resource)
when { context.taskOwner == "caller" };

@id("made-up-user")
permit(principal in Role::"made-up-nothing", action == Action::"call", resource)
when { context.user == "https://login.example.com#user/ann" };

@id("made-up-receiver")
permit(principal in Role::"made-up-nothing", action == Action::"call", resource in Role::"made-up-open");
`

/** A principal with one role of these rules, or with none. */
async function principalIn(world: World, name: string, role: string | null): Promise<string> {
  await world.admin('policy.put', { name: 'made-up-decision.cedar', text: rules })
  await world.agent(name, role === null ? [] : [role])
  return agentId(name)
}

const plain = (world: World) => principalIn(world, 'made-up-plain', 'made-up-plain')

/** Each case is an intent, by what its connector makes up. */
const madeUp =
  (
    who: (world: World) => Promise<string>,
    claimed: Parameters<typeof decidedIn>[2],
    rule: string,
    facts: Facts = {},
  ): Attempt =>
  async (world) => {
    const intent = await honestIntent(world, { caller: await who(world), ...facts }, claimed)
    expect(intent.facts['policy.rules']).toBe(rule)
    await expectUntaken(world, intent)
  }

/** Each case is a refusal of the plain caller, by what its connector makes up. */
const refusedAs =
  (
    facts: Facts,
    claimed: Parameters<typeof decidedIn>[2] = {},
    who: (world: World) => Promise<string> = plain,
  ): Attempt =>
  async (world) => {
    const caller = await who(world)
    await expectUntaken(world, await refusalOf(world, { caller, ...facts }, claimed))
  }

const changedTo =
  (facts: Facts): Attempt =>
  async (world) => {
    const honest = await honestIntent(world)
    expect((await record(world, [honest])).status).toBe(200)
    const made = { ...honest.facts, ...facts }
    await expectUntaken(world, meshEntry({ facts: made }))
  }

attack(
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
      'by roles on top of those that its caller has, permitted without them as well': madeUp(
        plain,
        { roles: ['made-up-plain', 'made-up-board'] },
        'made-up-plain made-up-board',
      ),
      'by other roles than its caller has, permitted by its own as well': madeUp(
        plain,
        { roles: ['made-up-board'] },
        'made-up-board',
      ),
      'about a caller in another segment': madeUp(plain, { segment: 'eu' }, 'made-up-plain'),
      'about a caller with other attributes': madeUp(
        plain,
        { attributes: { team: 'board' } },
        'made-up-plain',
      ),
      'about a receiver with roles that it does not have': async (world) => {
        const caller = await plain(world)
        const { facts } = await honestIntent(world, { caller })
        const honest = JSON.parse(String(facts['private.request'])) as PolicyRequest
        const resource = { ...honest.resource, roles: ['caller', 'made-up-open'] }
        const request = JSON.stringify({ ...honest, resource })
        await expectUntaken(world, meshEntry({ facts: { ...facts, 'private.request': request } }))
      },
      'about a user of whom no connector has a proof': async (world) => {
        const caller = await principalIn(world, 'made-up-nothing', 'made-up-nothing')
        const { facts } = await honestIntent(world, { caller })
        const honest = JSON.parse(String(facts['private.request'])) as PolicyRequest
        const context = { ...honest.context, user: 'https://login.example.com#user/ann' }
        const decided = { 'policy.rules': 'made-up-user', caller }
        const request = JSON.stringify({ ...honest, context })
        await expectUntaken(
          world,
          meshEntry({ facts: { ...facts, ...decided, 'private.request': request } }),
        )
      },
      'about a task of another': async (world) => {
        const caller = await principalIn(world, 'made-up-nothing', 'made-up-nothing')
        const { facts } = await honestIntent(world, { caller })
        const honest = JSON.parse(String(facts['private.request'])) as PolicyRequest
        const context = { ...honest.context, taskOwner: 'caller' }
        const about = { code: 'CONTENT_UNSUPPORTED', 'policy.rules': 'made-up-owner' }
        const stated = { caller, 'private.request': JSON.stringify({ ...honest, context }) }
        await expectUntaken(world, await refusalOf(world, { ...about, ...stated }))
      },
      'that takes an approval for granted': madeUp(
        (world) => principalIn(world, 'made-up-gated', 'made-up-gated'),
        {},
        'made-up-approval',
      ),
      'that states an approval which no exchange used': madeUp(
        (world) => principalIn(world, 'made-up-gated', 'made-up-gated'),
        {},
        'made-up-approval',
        {
          'approval.id': 'apr_01890000000070008000000000000000',
          'approval.approver': agentId('caller'),
          'approval.digest': Buffer.alloc(32),
        },
      ),
      'that takes a signature for granted': madeUp(
        (world) => principalIn(world, 'made-up-signer', 'made-up-signer'),
        {},
        'made-up-signature',
      ),
      'left out, of a caller that policy denies': async (world) => {
        const caller = await principalIn(world, 'made-up-none', null)
        await world.agent('thief', ['caller'])
        await expectUntaken(world, meshEntry({ facts: { caller, ...undecided } }))
      },
      'left out, of a caller that policy permits': async (world) => {
        const caller = await plain(world)
        await expectUntaken(world, meshEntry({ facts: { caller, ...undecided } }))
      },
      ...Object.fromEntries(
        ['NOT_PERMITTED', 'APPROVAL_REQUIRED', 'SIGNATURE_MISSING'].flatMap((code) => [
          [`of a refusal with ${code}, by what permits it`, refusedAs({ code })],
          [`of a refusal with ${code}, left out`, refusedAs({ code, ...undecided })],
          [
            `of a refusal with ${code}, left out, after it was sent`,
            refusedAs({ code, result: 'withheld', ...undecided }),
          ],
        ]),
      ),
      ...Object.fromEntries(
        ['RECEIVER_UNKNOWN', 'CONTENT_BLOCKED', 'RATE_LIMITED', 'AGENT_REVOKED', 'EPOCH_STALE'].map(
          (code) => [`of a refusal with ${code}, by what permits it`, refusedAs({ code })],
        ),
      ),
      'of a refusal after it was sent': refusedAs({ code: 'OUTCOME_UNKNOWN', result: 'unknown' }),
      'of a refusal that the receiver states': refusedAs({ code: 'UNDECIDED', result: 'stated' }),
      'of a refusal, by a role that its caller does not have': refusedAs(
        { code: 'NOT_PERMITTED' },
        { roles: ['made-up-plain', 'made-up-suspect'] },
      ),
      'of a refusal, without the role that its caller has': refusedAs(
        { code: 'NOT_PERMITTED' },
        { roles: [] },
      ),
      'of a refusal with another code, by what denies it': refusedAs(
        { code: 'RATE_LIMITED' },
        {},
        (world) => principalIn(world, 'made-up-suspect', 'made-up-suspect'),
      ),
      ...Object.fromEntries(
        ['AGENT_QUARANTINED', 'AGENT_REVOKED'].flatMap((code) => [
          [
            `of a refusal with ${code}, of a caller with active status`,
            refusedAs({ code, ...undecided }),
          ],
          [
            `of a refusal with ${code}, without a caller`,
            refusedAs({ code, ...undecided, caller: null, 'caller.method': null }),
          ],
        ]),
      ),
      'of a refusal with AGENT_REVOKED, of a caller in quarantine': async (world) => {
        const name = newName('quarantined')
        await world.agent(name, ['caller'])
        await world.admin('agent.quarantine', { name, reason: 'told to' })
        const facts = { caller: agentId(name), ...undecided }
        const refusal = (code: string) => meshEntry({ kind: 'refusal', facts: { ...facts, code } })
        await expectUntaken(world, refusal('AGENT_REVOKED'))
        expect((await record(world, [refusal('AGENT_QUARANTINED')])).status).toBe(200)
        await world.admin('agent.restore', { name, reason: 'told to' })
        // A connector may not know of that yet.
        expect((await record(world, [refusal('AGENT_QUARANTINED')])).status).toBe(200)
      },
      'of an outcome, by which what was permitted is not': async (world) => {
        const { exchange } = meshEntry()
        const { facts } = await honestIntent(world)
        expect((await record(world, [meshEntry({ exchange, facts })])).status).toBe(200)
        const codes = ['NOT_PERMITTED', 'APPROVAL_REQUIRED', 'SIGNATURE_MISSING', 'AGENT_REVOKED']
        for (const code of codes) {
          const refused = { result: 'withheld', code }
          const ending = meshEntry({ exchange, kind: 'outcome', facts: refused })
          expect((await record(world, [ending])).status).toBe(400)
        }
      },
      'and each refusal that a decision leads to is taken': async (world) => {
        await world.agent('thief', ['caller'])
        const gated = await principalIn(world, 'made-up-gated', 'made-up-gated')
        const signer = await principalIn(world, 'made-up-signer', 'made-up-signer')
        const suspect = await principalIn(world, 'made-up-suspect', 'made-up-suspect')
        for (const facts of [
          { caller: gated, code: 'APPROVAL_REQUIRED' },
          { caller: signer, code: 'SIGNATURE_MISSING' },
          { caller: suspect, code: 'NOT_PERMITTED' },
          { caller: await plain(world), code: 'CONTENT_UNSUPPORTED' },
          { caller: await plain(world), code: 'RATE_LIMITED', ...undecided },
          { caller: await plain(world), code: 'NOT_PERMITTED', result: 'stated', ...undecided },
        ]) {
          expect((await record(world, [await refusalOf(world, facts)])).status).toBe(200)
        }
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
