import { execFile } from 'node:child_process'
import { createPublicKey, type KeyObject } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { AgentCard, SendMessageRequest, verifyAgentCardSignature } from '@a2a-js/sdk'
import {
  ClientFactory,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
} from '@a2a-js/sdk/client'
import { REFUSALS, toBase64Url } from '@countersign/protocol'
import { openAgent, type Agent as SdkAgent } from '@countersign/sdk'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { Agent, fetch as undiciFetch } from 'undici'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { connectorAgent } from '../../packages/fabric/src/cli/connector-agent.ts'
import { type Connector, openConnector } from '../../packages/fabric/src/compose/connector.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { policyParser } from '../harness/policies.ts'
import { openWorld, type World } from '../harness/world.ts'
import {
  createA2aAnswer,
  createPace,
  openA2aAgent,
  openMcpAgent,
  openSessionAgent,
  type Pace,
  UPDATES,
  type Upstream,
} from './upstreams.ts'

/** Every official client as it is published, over both ways that carry plain HTTP to an agent. */
const ways = ['gateway', 'mesh'] as const
type Way = (typeof ways)[number]

const POLICY = `
@id("official-clients")
permit(
  principal in Role::"official-caller",
  action == Action::"call",
  resource in Role::"official-receiver"
);`

/** The notary serves through our SDK; the others know nothing of us, and have a connector each. */
const receivers = { clerk: 'a2a', archive: 'mcp', counter: 'mcp' } as const
type Receiver = keyof typeof receivers | 'notary'
const callers = ['anna', 'bert', 'carl'] as const
type CallerName = (typeof callers)[number]

let world: World
let pace: Pace
let keys: Readonly<Record<CallerName, string>>
let loopbacks: Readonly<Record<CallerName, Connector>>
let dispatcher: Agent
let notary: SdkAgent
const upstreams: Upstream[] = []
const connectors: Connector[] = []

beforeAll(async () => {
  // The SDK logs there every signature that does not fit, which is the case under test.
  vi.spyOn(console, 'debug').mockImplementation(() => undefined)
  world = await openWorld()
  pace = createPace()
  const opened = {
    clerk: await openA2aAgent(pace),
    archive: await openMcpAgent(pace),
    counter: await openSessionAgent(),
  }
  upstreams.push(...Object.values(opened))
  await world.admin('policy.put', { name: 'official.cedar', text: POLICY })
  for (const name of Object.keys(receivers) as (keyof typeof receivers)[]) {
    const upstream = opened[name].url
    await connect(name, ['official-receiver'], upstream)
    await world.admin('route.put', { name, upstream, protocol: receivers[name] })
  }
  notary = await openNotary()
  const [anna, bert, carl] = callers
  loopbacks = {
    anna: await connect(anna, ['official-caller'], null),
    bert: await connect(bert, ['official-caller'], null),
    carl: await connect(carl, ['official-caller'], null),
  }
  keys = { anna: await createKey(anna), bert: await createKey(bert), carl: await createKey(carl) }
  dispatcher = new Agent({ connect: { ca: world.fabric.rootPem } })
})

/** An A2A server on the official SDK, served and countersigned by ours. */
async function openNotary(): Promise<SdkAgent> {
  const terms = {
    kind: 'agent',
    roles: ['official-receiver'],
    segment: '',
    attributes: {},
  } as const
  const { join: line } = await world.fabric.invite({ name: 'notary', ...terms, ttlSeconds: 60 })
  const agent = await openAgent({ dir: join(world.dir, 'notary'), join: line })
  const { promise: ready, resolve } =
    Promise.withResolvers<(request: Request) => Promise<Response>>()
  const { url } = await agent.serve(async ({ request }) => (await ready)(request), {
    protocol: 'a2a',
  })
  resolve(createA2aAnswer(url, pace))
  return agent
}

afterAll(async () => {
  vi.restoreAllMocks()
  await dispatcher.destroy()
  await notary.close()
  for (const connector of connectors) await connector.close()
  await world.close()
  for (const upstream of upstreams) await upstream.close()
})

async function connect(
  name: string,
  roles: readonly string[],
  expose: string | null,
): Promise<Connector> {
  const identity = await world.agent(name, roles)
  const here = { host: '127.0.0.1', port: 0 }
  const { trustDomain } = identity
  const connector = await openConnector({
    agent: connectorAgent(identity, world.clock),
    gateway: { url: world.fabric.origin, spiffeId: `spiffe://${trustDomain}/fabric/gateway` },
    expose,
    protocol: expose === null ? 'auto' : receivers[name as keyof typeof receivers],
    listen: here,
    meshListen: { ...here, advertise: null },
    usedValues: { dir: null, isFirst: true },
    clock: world.clock,
    random: systemRandom,
    policyParser,
    log: () => undefined,
  })
  connectors.push(connector)
  return connector
}

async function createKey(agent: string): Promise<string> {
  return ((await world.admin('key.create', { agent })) as { key: string }).key
}

/**
 * Returns the address at which a caller reaches `receiver`; on the mesh that is its own connector,
 * in plain HTTP.
 */
function baseOf(way: Way, receiver: Receiver, caller: CallerName): string {
  if (way === 'gateway') return `${world.fabric.origin}/agents/${receiver}`
  return `${loopbacks[caller].loopbackUrl}/${receiver}`
}

/**
 * At the gateway a key in a header and the fabric's root; at a connector the plain global fetch.
 */
function fetchOf(way: Way, caller: CallerName): typeof fetch {
  if (way === 'mesh') return fetch
  const withKey = (input: Parameters<typeof undiciFetch>[0], init: RequestInit = {}) => {
    const headers = new Headers(init.headers)
    headers.set('x-api-key', keys[caller])
    const order = { ...init, headers: [...headers], dispatcher } as Parameters<
      typeof undiciFetch
    >[1]
    return undiciFetch(input, order)
  }
  return withKey as unknown as typeof fetch
}

async function fetchCard(way: Way): Promise<AgentCard> {
  const url = `${baseOf(way, 'clerk', 'anna')}/.well-known/agent-card.json`
  return (await fetchOf(way, 'anna')(url)).json() as Promise<AgentCard>
}

/**
 * Returns the key that signs the card that a caller gets: the fabric's, or, on the caller's own
 * machine, that of its connector.
 */
async function cardKey(way: Way): Promise<{ readonly kid: string; readonly key: KeyObject }> {
  if (way === 'mesh') {
    const { signing } = await world.agent('anna')
    return { kid: signing.keyId, key: createPublicKey(signing.privateKey) }
  }
  const { fabricKeyId, fabricKey } = world.operator.trust
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(fabricKey) }
  return { kid: fabricKeyId, key: createPublicKey({ key: jwk, format: 'jwk' }) }
}

describe('the official A2A client', () => {
  const clientOf = (way: Way, receiver: Receiver = 'clerk', caller: CallerName = 'anna') => {
    const fetchImpl = fetchOf(way, caller)
    const factory = new ClientFactory({
      transports: [new JsonRpcTransportFactory({ fetchImpl })],
      cardResolver: new DefaultAgentCardResolver({ fetchImpl }),
    })
    const base = baseOf(way, receiver, caller)
    return factory.createFromUrl(`${base}/.well-known/agent-card.json`, '')
  }
  const saying = (text: string) =>
    SendMessageRequest.fromJSON({
      message: { messageId: `m-${text}`, role: 'ROLE_USER', parts: [{ text }] },
    })

  test.each(ways)(
    'finds on the card only interfaces that lead through us, over the %s',
    async (way) => {
      const card = await fetchCard(way)
      expect(card.supportedInterfaces.map(({ url }) => url)).toEqual([
        `${baseOf(way, 'clerk', 'anna')}/`,
      ])
      expect(card.capabilities?.pushNotifications).toBe(false)
      expect(Object.keys(card.securitySchemes ?? {})).toHaveLength(way === 'gateway' ? 3 : 0)
    },
  )

  test.each(ways)(
    'verifies the signature on the card, and no other card, over the %s',
    async (way) => {
      const { kid, key } = await cardKey(way)
      const verify = verifyAgentCardSignature((asked) =>
        asked === kid ? Promise.resolve(key) : Promise.reject(new Error(asked)),
      )
      const card = await fetchCard(way)
      await expect(verify(card)).resolves.toBeUndefined()
      await expect(verify({ ...card, version: '9.9.9' })).rejects.toThrow('No valid signatures')
      const [first] = card.supportedInterfaces
      const moved = { ...first, url: 'https://elsewhere.example/' } as NonNullable<typeof first>
      await expect(verify({ ...card, supportedInterfaces: [moved] })).rejects.toThrow()
    },
  )

  test.each(ways)('sends a message and gets the answer, over the %s', async (way) => {
    const answer = await (await clientOf(way)).sendMessage(saying('good morning'))
    expect('parts' in answer ? answer.parts[0]?.content : null).toEqual({
      $case: 'text',
      value: 'heard: good morning',
    })
  })

  const streamed = async (way: Way, receiver: Receiver): Promise<unknown[]> => {
    const kinds: unknown[] = []
    const client = await clientOf(way, receiver)
    for await (const { payload } of client.sendMessageStream(saying('stream'))) {
      kinds.push(payload?.$case)
      // The agent sends the next event only after this; an event that is held back ends the test.
      pace.seen()
    }
    return kinds
  }
  const wholeStream = ['task', ...Array.from({ length: UPDATES }, () => 'statusUpdate')]

  test.each(ways)(
    'gets each event before the next is sent, over the %s [deliver:events]',
    async (way) => {
      expect(await streamed(way, 'clerk')).toEqual(wholeStream)
    },
  )

  test.each(ways)('reaches an agent that serves through our SDK, over the %s', async (way) => {
    const answer = await (await clientOf(way, 'notary')).sendMessage(saying('please'))
    expect('parts' in answer ? answer.parts[0]?.content?.value : null).toBe('heard: please')
    expect(await streamed(way, 'notary')).toEqual(wholeStream)
  })

  test.each(ways)(
    'receives the error of an unknown task as from any agent, over the %s',
    async (way) => {
      const client = await clientOf(way)
      const asked = client.getTask({ tenant: '', id: 'no-such-task-0001' })
      await expect(asked).rejects.toMatchObject({ name: 'TaskNotFoundError' })
    },
  )

  test('receives the refusal as an error of its own protocol [authenticate:quarantine@gateway]', async () => {
    const client = await clientOf('gateway', 'clerk', 'carl')
    await world.admin('agent.quarantine', { name: 'carl', reason: 'test' })
    await expect(client.sendMessage(saying('hello'))).rejects.toThrow(
      REFUSALS.AGENT_QUARANTINED.says,
    )
  })
})

describe('the official MCP client', () => {
  const eras = [
    { version: '2025-11-25', mode: 'legacy' },
    { version: '2026-07-28', mode: { pin: '2026-07-28' } },
  ] as const

  describe.each(eras)('in the era of $version', ({ version, mode }) => {
    const use = async <T>(way: Way, act: (client: Client) => Promise<T>): Promise<T> => {
      const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } })
      const url = new URL(`${baseOf(way, 'archive', 'anna')}/mcp`)
      await client.connect(new StreamableHTTPClientTransport(url, { fetch: fetchOf(way, 'anna') }))
      try {
        return await act(client)
      } finally {
        await client.close()
      }
    }

    test.each(ways)('lists tools and calls one, over the %s', async (way) => {
      await use(way, async (client) => {
        expect(client.getNegotiatedProtocolVersion()).toBe(version)
        const { tools } = await client.listTools()
        expect(tools.map(({ name }) => name)).toEqual(['say', 'count'])
        const { content } = await client.callTool({ name: 'say', arguments: { word: 'yes' } })
        expect(content).toEqual([{ type: 'text', text: 'heard: yes' }])
      })
    })

    test.each(ways)(
      'receives progress while the tool still works, over the %s [deliver:events]',
      async (way) => {
        const heard: number[] = []
        const answer = await use(way, (client) =>
          client.callTool(
            { name: 'count', arguments: { word: 'yes' } },
            {
              onprogress: ({ progress }) => {
                heard.push(progress)
                pace.seen()
              },
            },
          ),
        )
        expect(heard).toEqual([1, 2, 3])
        expect(answer.content).toEqual([{ type: 'text', text: 'counted: yes' }])
      },
    )
  })
})

describe('the first generation of the official MCP client', () => {
  const open = async (way: Way, caller: CallerName) => {
    const client = new ClientV1({ name: 'test', version: '1' })
    const url = new URL(`${baseOf(way, 'counter', caller)}/mcp`)
    const transport = new TransportV1(url, { fetch: fetchOf(way, caller) })
    await client.connect(transport)
    return { client, transport }
  }
  const next = async (client: ClientV1): Promise<unknown> => {
    const { content } = await client.callTool({ name: 'next' })
    return content
  }

  test.each(ways)('keeps its session from call to call, over the %s', async (way) => {
    const { client, transport } = await open(way, 'anna')
    expect(transport.sessionId).toMatch(/^[0-9a-f-]{36}$/)
    expect(await next(client)).toEqual([{ type: 'text', text: '1' }])
    expect(await next(client)).toEqual([{ type: 'text', text: '2' }])
    await transport.terminateSession()
    await client.close()
  })

  test.each(ways)(
    'keeps its session when a method or a task is unknown, over the %s [authorize:operation]',
    async (way) => {
      const { client, transport } = await open(way, 'anna')
      const result = { parse: (value: unknown) => value } as never
      const ask = (method: string, params: object) =>
        client.request({ method, params } as never, result).catch((error: unknown) => error)
      expect(await ask('vendor/do', {})).toMatchObject({ name: 'McpError', code: -32_601 })
      const unknown = await ask('tasks/get', { taskId: 'no-such-task-0001' })
      expect(unknown).toMatchObject({ name: 'McpError', code: -32_602 })
      expect(await next(client)).toEqual([{ type: 'text', text: '1' }])
      await transport.terminateSession()
      await client.close()
    },
  )

  test.each(ways)('cannot speak in the session of another caller, over the %s', async (way) => {
    const { client, transport } = await open(way, 'anna')
    const asBert = async (sessionId: string) => {
      const response = await fetchOf(way, 'bert')(`${baseOf(way, 'counter', 'bert')}/mcp`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          'mcp-session-id': sessionId,
          'mcp-protocol-version': '2025-11-25',
        },
        body: JSON.stringify({
          jsonrpc: '2.0',
          id: 1,
          method: 'tools/call',
          params: { name: 'next', arguments: {} },
        }),
      })
      await response.text()
      return [response.status, response.headers.get('countersign-refusal')]
    }
    const stolen = await asBert(transport.sessionId ?? '')
    const invented = await asBert('11111111-2222-4333-8444-555555555555')
    // Another caller's session is indistinguishable from one that never existed.
    expect(stolen).toEqual([404, 'RECEIVER_UNKNOWN'])
    expect(invented).toEqual(stolen)
    expect(await next(client)).toEqual([{ type: 'text', text: '1' }])
    await transport.terminateSession()
    await client.close()
  })
})

describe('a program in a process of its own', () => {
  test('needs the root in NODE_EXTRA_CA_CERTS, a key, and the official clients', async () => {
    const root = join(world.dir, 'root.pem')
    writeFileSync(root, world.fabric.rootPem)
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: root }
    const { origin } = world.fabric
    const script = join(import.meta.dirname, 'official-program.ts')
    const { stdout } = await promisify(execFile)(process.execPath, [script, origin, keys.anna], {
      env,
    })
    expect(JSON.parse(stdout)).toEqual({ a2a: 'heard: hello', mcp: 'heard: hello' })
  })
})
