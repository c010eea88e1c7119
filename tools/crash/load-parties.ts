import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connectorAgent } from '../../packages/fabric/src/cli/connector-agent.ts'
import { type Connector, openConnector } from '../../packages/fabric/src/compose/connector.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { channelOf } from '../../packages/sdk/src/channel/agent-channel.ts'
import type { Channel } from '../../packages/sdk/src/channel/channel.ts'
import { readAll } from '../../packages/sdk/src/connection/body.ts'
import {
  type Agent,
  askControl,
  type FabricConnection,
  type Identity,
  openAgent,
  openIdentity,
} from '../../packages/sdk/src/index.ts'
import type { FabricHost } from './fabric-host.ts'
import type { Observer, Transport } from './verdict-observer.ts'

/** Everyone who talks through the fabric. All of them outlive every one of its deaths. */
export interface Parties {
  readonly caller: Agent
  readonly connectors: { readonly caller: Connector; readonly callee: Connector }
  readonly identities: Readonly<Record<'meshCaller' | 'sender' | 'receiver', Identity>>
  readonly sending: Channel
  readonly receiving: Channel
  admin<T>(operation: string, args?: object): Promise<T>
  /** Returns a public resource of the log, as any auditor reads it; null where there is none. */
  readLog(path: string): Promise<Uint8Array | null>
  close(): Promise<void>
}

export const CHANNEL = 'orders'

const policy = `
permit(principal == Agent::"caller", action == Action::"call", resource == Agent::"echo");
permit(principal == Agent::"mesh-caller", action == Action::"call", resource == Agent::"mesh-echo");
permit(principal == Agent::"sender", action == Action::"publish", resource == Channel::"${CHANNEL}");
permit(principal == Agent::"receiver", action == Action::"consume", resource == Channel::"${CHANNEL}");
permit(principal is Agent, action == Action::"discover", resource == Channel::"${CHANNEL}");
`

/**
 * Enrols everyone on a running, empty fabric, and gives them the right to do what the load does.
 */
export async function openParties(
  host: FabricHost,
  root: string,
  observer: Observer,
): Promise<Parties> {
  const identityOf = async (name: string, kind: 'agent' | 'user' = 'agent', roles = ['load']) => {
    const order = { name, kind, roles, segment: '', attributes: {}, ttlSeconds: 900 }
    const dir = join(root, 'identities', name)
    const line = await host.invite(order)
    return openIdentity({ join: line, dir, clock: systemClock, onFault: () => undefined })
  }
  const operator = await identityOf('operator', 'user', ['operator'])
  const admin = async <T>(operation: string, args: object = {}): Promise<T> => {
    const value = { operation, args }
    const answer = await askControl(operator.connection, {
      method: 'POST',
      path: '/v1/admin',
      value,
    })
    return (answer as { result: T }).result
  }
  const readLog = async (path: string): Promise<Uint8Array | null> => {
    const response = await operator.connection.request({
      ...{ method: 'GET', path: `/log/${path}`, headers: [], body: new Uint8Array(0) },
      repeatable: true,
    })
    const bytes = await readAll(response.body, resourceBytesMax, 'ANSWER_TOO_LARGE')
    return response.status === 200 ? bytes : null
  }
  const echo = await openEcho('gateway', observer)
  const meshEcho = await openEcho('mesh', observer)
  await admin('route.put', { name: 'echo', upstream: echo.url, protocol: 'http' })
  const put = await admin<{ taken: boolean; problems: readonly string[] }>('policy.put', {
    name: 'crash.cedar',
    text: policy,
  })
  if (!put.taken) throw new Error(put.problems.join('\n'))

  const callerJoin = await host.invite({ ...terms, name: 'caller' })
  const caller = await openAgent({ join: callerJoin, dir: join(root, 'identities', 'caller') })
  const meshCaller = await identityOf('mesh-caller')
  const meshCallee = await identityOf('mesh-echo')
  const sender = watched(await identityOf('sender'), observer)
  const receiver = watched(await identityOf('receiver'), observer)
  await admin('channel.create', { name: CHANNEL, members: ['sender', 'receiver'] })
  const connectors = {
    callee: await connect(meshCallee, host, meshEcho.url),
    caller: await connect(meshCaller, host, null),
  }
  return {
    caller,
    connectors,
    identities: { meshCaller, sender, receiver },
    sending: channelOf(sender, CHANNEL, { clock: systemClock }),
    receiving: channelOf(receiver, CHANNEL, { clock: systemClock }),
    admin,
    readLog,
    async close() {
      await Promise.all([connectors.caller.close(), connectors.callee.close(), caller.close()])
      for (const each of [operator, meshCaller, meshCallee, sender, receiver]) each.close()
      await Promise.all([echo.close(), meshEcho.close()])
    },
  }
}

const terms = {
  kind: 'agent',
  roles: ['load'],
  segment: '',
  attributes: {},
  ttlSeconds: 900,
} as const

function connect(identity: Identity, host: FabricHost, expose: string | null): Promise<Connector> {
  const { trustDomain } = identity
  return openConnector({
    agent: connectorAgent(identity, systemClock),
    gateway: { url: host.origin, spiffeId: `spiffe://${trustDomain}/fabric/gateway` },
    expose,
    protocol: 'http',
    listen: { host: '127.0.0.1', port: 0 },
    meshListen: { host: '127.0.0.1', port: 0, advertise: null },
    usedValues: { dir: null, isFirst: true },
    clock: systemClock,
    random: systemRandom,
    log: () => undefined,
  })
}

const bodyBytesMax = 64 * 1024
/** Of a tile or a checkpoint. */
const resourceBytesMax = 64 * 1024

/** An agent that writes down which exchange it was handed before it does anything else. */
async function openEcho(transport: Transport, observer: Observer) {
  const server = createServer((request, response) => {
    answer(request, response, (exchange, call) => observer.hand(transport, exchange, call)).catch(
      () => response.destroy(),
    )
  })
  // Kept open far longer than any pause of the load, so that no call meets a closing connection.
  server.keepAliveTimeout = 120_000
  const port = await listen(server)
  return {
    url: `http://127.0.0.1:${port}`,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  hand: (exchange: string | undefined, call: string) => void,
): Promise<void> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > bodyBytesMax) throw new RangeError('the load sends no such bodies')
    chunks.push(chunk)
  }
  const body = Buffer.concat(chunks)
  const { call } = JSON.parse(body.toString()) as { call: string }
  const exchange = request.headers['countersign-exchange']
  hand(Array.isArray(exchange) ? exchange[0] : exchange, call)
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(body)
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  })
}

const recorded = /^\/v1\/channels\/[^/]+\/(?:messages|leases|settlements)$/

/** The same identity; what the fabric acknowledges over its line goes to the observer. */
function watched(identity: Identity, observer: Observer): Identity {
  const line: FabricConnection = {
    authority: identity.connection.authority,
    renew: (credential) => identity.connection.renew(credential),
    close: () => identity.connection.close(),
    async request(request) {
      const response = await identity.connection.request(request)
      if (request.method === 'POST' && recorded.test(request.path) && response.status === 200) {
        const exchange = response.headers.find(([name]) => name === 'countersign-exchange')?.[1]
        observer.acknowledge('queue', exchange ?? null, `${identity.name}: ${request.path}`)
      }
      return response
    },
  }
  return new Proxy(identity, {
    get: (target, name) => {
      if (name === 'connection') return line
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value
    },
  })
}
