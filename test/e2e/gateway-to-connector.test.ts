import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Agent, askControl, type Identity, openAgent } from '@countersign/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectorAgent } from '../../packages/fabric/src/cli/connector-agent.ts'
import { type Connector, openConnector } from '../../packages/fabric/src/compose/connector.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { field, send } from '../harness/doors.ts'
import { issuerAudience, issuerUrl, openTestIssuer, type TestIssuer } from '../harness/issuer.ts'
import { policyParser } from '../harness/policies.ts'
import { openWorld, type World } from '../harness/world.ts'

let world: World
let issuer: TestIssuer
let agent: Server
let connector: Connector
let caller: Agent
let hidden: Identity

async function listen(handler: RequestListener): Promise<Server> {
  const server = createServer(handler).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  return server
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port

/** Returns a port on which the listener has closed. */
async function closedPort(): Promise<number> {
  const server = await listen(() => undefined)
  const port = portOf(server)
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** One more instance of the hidden agent, with a connector of its own. */
function connect(instance: Server): Promise<Connector> {
  return openConnector({
    agent: connectorAgent(hidden, world.clock),
    gateway: {
      url: world.fabric.origin,
      spiffeId: `spiffe://${hidden.trustDomain}/fabric/gateway`,
    },
    expose: `http://127.0.0.1:${portOf(instance)}`,
    protocol: 'http',
    listen: { host: '127.0.0.1', port: 0 },
    meshListen: { host: '127.0.0.1', port: 0, advertise: null },
    usedValues: { dir: null, isFirst: true },
    clock: world.clock,
    random: systemRandom,
    policyParser,
    log: () => undefined,
  })
}

const register = (registration: object) =>
  askControl(hidden.connection, {
    method: 'POST',
    path: '/v1/mesh/endpoints',
    value: { ...registration, ttlSeconds: 60 },
  })

beforeAll(async () => {
  issuer = await openTestIssuer()
  const terms = {
    ...{ issuer: issuerUrl, audience: issuerAudience, keyFile: issuer.keyFile },
    roles: [{ claim: 'groups', value: 'callers', role: 'caller' }],
  }
  world = await openWorld({ issuers: [terms] })
  agent = await listen((request, response) => {
    if (request.url === '/stream') {
      response.setHeader('content-type', 'text/event-stream')
      response.write('data: one\n\n')
      response.end('data: two\n\n')
      return
    }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ from: request.headers['countersign-from'], url: request.url }))
  })
  hidden = await world.agent('hidden', ['countersigned'])
  connector = await connect(agent)
  const order = { segment: '', attributes: {}, ttlSeconds: 900 }
  const invited = { ...order, name: 'outside', kind: 'agent', roles: ['caller'] } as const
  const { join: line } = await world.fabric.invite(invited)
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

  test('is reached at each instance that stands, and at none that is gone [deliver:balance@gateway]', async () => {
    const other = await listen((_, response) => response.end('other'))
    const second = await connect(other)
    const url = `https://127.0.0.1:${await closedPort()}`
    const endpoints = [{ url, protocol: 'http', connector: true }]
    await register({ instance: url, endpoints })
    const answers = new Set<string>()
    for (let i = 0; i < 60; i++) {
      const reply = await caller.call('hidden', { method: 'GET', path: '/' })
      expect(reply.status).toBe(200)
      answers.add((await reply.text()).slice(0, 5))
    }
    expect(answers).toEqual(new Set(['other', '{"fro']))
    await register({ instance: url, endpoints: [] })
    await second.close()
    other.close()
  })

  test('answers a caller of another issuer, which its connector does not know', async () => {
    const claims = { sub: 'hidden', groups: ['callers'] }
    const headers = [['Authorization', `Bearer ${await issuer.token(claims)}`]] as const
    const draft = { to: 'hidden', method: 'GET', path: '/here', body: null, as: null, headers }
    const heard = await send(world.gateway, draft)
    expect(heard.status).toBe(200)
    const from = `${issuerUrl}#user/hidden`
    expect(JSON.parse(heard.body.toString())).toEqual({ from, url: '/here' })
    const [intent] = await world.explain(field(heard, 'countersign-exchange') ?? '')
    expect(intent?.facts['caller']).toBe(from)
    // The gateway refuses: the connector has no record of such a caller.
    await world.admin('agent.quarantine', { name: from, reason: 'told to' })
    expect(field(await send(world.gateway, draft), 'countersign-refusal')).toBe('AGENT_QUARANTINED')
  })

  test('is recorded once, by the gateway', async () => {
    const reply = await caller.call('hidden', { method: 'GET', path: '/once' })
    await reply.text()
    const entries = await world.explain(reply.exchange ?? '')
    expect(entries.map(({ kind }) => kind)).toEqual(['intent', 'outcome'])
  })
})
