import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Agent, openAgent, RefusedError } from '@countersign/sdk'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { OPERATION_NAMES } from '../../packages/fabric/src/compose/operation-names.ts'
import { CONTEXT_FIELDS } from '../../packages/fabric/src/policy/frame.ts'
import type { PolicyRequest } from '../../packages/fabric/src/policy/policy.ts'
import { findImpossible } from '../../packages/fabric/src/policy/possible.ts'
import { CONTEXT_DOMAINS } from '../../packages/fabric/src/policy/request-domains.ts'
import { callEverything, surprises, useChannel } from '../harness/possible.ts'
import { openWorld, type World } from '../harness/world.ts'

const asked = vi.hoisted((): PolicyRequest[] => [])

/** Every request that policy decides on in this process is kept. */
vi.mock(import('../../packages/fabric/src/policy/policy-set.ts'), async (original) => {
  const actual = await original()
  return {
    ...actual,
    createPolicySet(parts) {
      const set = actual.createPolicySet(parts)
      return {
        ...set,
        decide(request) {
          asked.push(request)
          return set.decide(request)
        },
      }
    },
  }
})

let world: World
const agents: Agent[] = []

const policies = `
@id("blue-is-out")
forbid(principal, action in [Action::"call", Action::"publish", Action::"consume"], resource)
when { principal.hasTag("team") && principal.getTag("team") == "blue" };

@id("risky-is-out")
forbid(principal, action in [Action::"call", Action::"publish", Action::"consume"], resource)
when { context.risk >= 10 };
`

async function enrol(name: string, team: string, roles = ['caller']): Promise<Agent> {
  const terms = { name, kind: 'agent', roles, segment: '', ttlSeconds: 900 } as const
  const { join: line } = await world.fabric.invite({ ...terms, attributes: { team } })
  const agent = await openAgent({ join: line, dir: join(world.dir, name) })
  agents.push(agent)
  return agent
}

/** Returns the result of an attempt: `ok`, or the code of its refusal. */
async function codeOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt
    return 'ok'
  } catch (cause) {
    if (cause instanceof RefusedError) return cause.code
    throw cause
  }
}

const call = (agent: Agent, to = 'echo') =>
  codeOf(
    agent.call(to, { method: 'POST', path: '/', json: { a: 1 } }).then((reply) => reply.text()),
  )

const publish = (agent: Agent, channel: string) => codeOf(agent.channel(channel).send('sealed'))

async function callOverMesh(name: string, to = 'echo', value: object = { a: 1 }): Promise<string> {
  const { authority, path } = await world.connectors.loopback(name, to, '/')
  const response = await fetch(`http://${authority}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(value),
  })
  await response.arrayBuffer()
  return response.headers.get('countersign-refusal') ?? 'ok'
}

beforeAll(async () => {
  world = await openWorld()
  await world.admin('policy.put', { name: 'ways.cedar', text: policies })
  await world.connectors.of('echo')
  await world.connectors.of('masked')
})

afterAll(async () => {
  for (const agent of agents) await agent.close()
  await world.close()
})

describe('policy', () => {
  test('decides on attributes, and one forbid outweighs the permit [authorize:attributes] [authorize:forbid-wins@queue]', async () => {
    const green = await enrol('green', 'green')
    const blue = await enrol('blue', 'blue')
    await world.admin('channel.create', { name: 'colours', members: ['green', 'blue'] })
    expect(await call(green)).toBe('ok')
    expect(await call(blue)).toBe('NOT_PERMITTED')
    expect(await publish(green, 'colours')).toBe('ok')
    expect(await publish(blue, 'colours')).toBe('NOT_PERMITTED')
  })

  test('is on record whenever it changes, also by a file that was not announced [record:policies]', async () => {
    const versions: unknown[] = []
    const causes: unknown[] = []
    const stop = world.fabric.onEntry(({ kind, facts }) => {
      if (kind === 'lifecycle' && facts['event'] === 'policies-changed') {
        versions.push(facts['policy.version'])
        causes.push([facts['object'], facts['changed-by']])
      }
    })
    const folder = join(world.dir, 'data/policies')
    await writeFile(
      join(folder, 'unannounced.cedar'),
      'forbid(principal == Agent::"nobody", action, resource);',
    )
    await expect.poll(() => versions.length).toBe(1)
    expect(causes).toEqual([['unannounced.cedar', 'files']])
    const put = {
      name: 'announced.cedar',
      text: 'permit(principal == Agent::"none", action, resource);',
    }
    await world.admin('policy.put', put)
    await expect.poll(() => versions.length).toBe(2)
    const recent = await world.recorded()
    const asked = recent.find(({ facts }) => facts['operation'] === 'policy.put')
    expect(causes[1]).toEqual(['announced.cedar', asked?.exchange])
    stop()
    const reader = await enrol('reader', 'green')
    const { exchange } = await reader.call('echo', { method: 'GET', path: '/' })
    const [intent] = await world.explain(String(exchange))
    expect(intent?.facts['policy.version']).toBe(versions[1])
  })

  test('permits nothing on a channel that it does not name [authorize:default-deny@queue]', async () => {
    const stranger = await enrol('stranger', 'green', [])
    await world.admin('channel.create', { name: 'strangers', members: ['stranger'] })
    expect(await publish(stranger, 'strangers')).toBe('NOT_PERMITTED')
  })

  test('acts on risk as soon as behaviour raises it, on every way [detection:risk]', async () => {
    const prober = await enrol('prober', 'green')
    const meshed = await world.agent('meshed', ['caller'])
    await world.admin('channel.create', { name: 'probes', members: ['prober'] })
    expect(await call(prober)).toBe('ok')
    expect(await callOverMesh(meshed.name)).toBe('ok')
    expect(await publish(prober, 'probes')).toBe('ok')
    // Acts as a compromised agent: it carries a credential out. In the mesh only the connector of
    // the receiver sees it, whose statement about another agent counts at most 14.
    const { key } = (await world.admin('key.create', { agent: 'prober' })) as { key: string }
    const note = { note: `take this: ${key}` }
    // The exchange that raises the risk is decided on again before its response is handed over.
    const carried = prober.call('masked', { method: 'POST', path: '/', json: note })
    await expect(carried).rejects.toMatchObject({ code: 'WITHDRAWN', reason: 'policy-denies' })
    expect(await call(prober)).toBe('NOT_PERMITTED')
    expect(await publish(prober, 'probes')).toBe('NOT_PERMITTED')
    expect(['ok', 'WITHDRAWN']).toContain(await callOverMesh('meshed', 'masked', note))
    await expect.poll(() => callOverMesh('meshed')).toBe('NOT_PERMITTED')
    expect(await call(await enrol('bystander', 'green'))).toBe('ok')
  })

  test('is never asked about a request that the table of possible ones does not hold [authorize:possible]', async () => {
    for (const door of [world.gateway, world.mesh]) await callEverything(door)
    await useChannel(world)
    for (const operation of ['status', 'agent.list', 'route.list']) await world.admin(operation)
    const kinds = asked.map(
      (each) => `${each.action} ${each.context.protocol} ${each.context.transport}`,
    )
    const mesh = ['administer a2a mesh', 'call a2a mesh', 'call mcp mesh', 'call http mesh']
    const gateway = mesh.map((kind) => kind.replace('mesh', 'gateway'))
    const fabric = ['administer', 'discover', 'read', 'record'].map(
      (each) => `${each} admin gateway`,
    )
    const queue = ['consume', 'discover', 'publish'].map((each) => `${each} queue queue`)
    const all = [...mesh, ...gateway, ...fabric, ...queue].toSorted()
    expect([...new Set(kinds)].toSorted()).toEqual(all)
    for (const request of asked) {
      expect(surprises(request), JSON.stringify(request)).toEqual([])
      expect(findImpossible(request, OPERATION_NAMES), JSON.stringify(request)).toBeNull()
    }
  })

  test('sees exactly the fields that the table describes [authorize:possible]', () => {
    expect(Object.keys(CONTEXT_DOMAINS).toSorted()).toEqual([...CONTEXT_FIELDS.keys()].toSorted())
  })
})
