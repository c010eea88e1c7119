import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Agent, openAgent } from '@countersign/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectorAgent } from '../../packages/fabric/src/cli/connector-agent.ts'
import { type Connector, openConnector } from '../../packages/fabric/src/compose-connector.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { openWorld, type World } from '../harness/world.ts'

let world: World
let agent: Server
let connector: Connector
let caller: Agent

beforeAll(async () => {
  world = await openWorld()
  agent = createServer((request, response) => {
    if (request.url === '/stream') {
      response.setHeader('content-type', 'text/event-stream')
      response.write('data: one\n\n')
      response.end('data: two\n\n')
      return
    }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ from: request.headers['countersign-from'], url: request.url }))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => agent.once('listening', resolve))
  const identity = await world.agent('hidden', ['countersigned'])
  connector = await openConnector({
    agent: connectorAgent(identity, world.clock),
    gateway: {
      url: world.fabric.origin,
      spiffeId: `spiffe://${identity.trustDomain}/fabric/gateway`,
    },
    expose: `http://127.0.0.1:${(agent.address() as AddressInfo).port}`,
    protocol: 'http',
    listen: { host: '127.0.0.1', port: 0 },
    meshListen: { host: '127.0.0.1', port: 0, advertise: null },
    clock: world.clock,
    random: systemRandom,
    log: () => undefined,
  })
  const order = { segment: '', attributes: {}, ttlSeconds: 900 }
  const terms = { ...order, name: 'outside', kind: 'agent', roles: ['caller'] } as const
  const { join: line } = await world.fabric.invite(terms)
  caller = await openAgent({ join: line, dir: join(world.dir, 'outside') })
})

afterAll(async () => {
  await caller.close()
  await connector.close()
  agent.close()
  await world.close()
})

describe('an agent behind a connector, called through the gateway', () => {
  test('answers, and its connector countersigns [countersign:response@gateway]', async () => {
    const reply = await caller.call('hidden', { method: 'GET', path: '/here?a=1' })
    expect(await reply.json()).toEqual({ from: caller.spiffeId, url: '/here?a=1' })
    const receipt = await reply.receipt()
    const facts = receipt.entries.at(-1)?.facts
    expect(facts?.['attested.response']).toBe('callee')
  })

  test('streams, event by event, under a signed head [deliver:events@gateway]', async () => {
    const reply = await caller.call('hidden', { method: 'GET', path: '/stream' })
    const events: string[] = []
    for await (const event of reply.events()) events.push(event.data)
    expect(events).toEqual(['one', 'two'])
  })

  test('is recorded once, by the gateway', async () => {
    const reply = await caller.call('hidden', { method: 'GET', path: '/once' })
    await reply.text()
    const entries = await world.explain(reply.exchange ?? '')
    expect(entries.map(({ kind }) => kind)).toEqual(['intent', 'outcome'])
  })
})
