import { createServer, type ServerResponse } from 'node:http'
import {
  createId,
  formatContentDigest,
  formatSignedRequestHeaders,
  formatSpiffeId,
  isAgentName,
  parseStrictJson,
  parseUtf8,
  prepareRequestSignature,
  type SignableRequest,
  toBase64Url,
  utf8,
} from '@countersign/protocol'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/random.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Arrival } from '../../pipeline/arrival.ts'
import { admitControl } from '../../pipeline/control.ts'
import type { Rooms } from '../../pipeline/enforce.ts'
import { sha256 } from '../../pipeline/record.ts'
import { mediateCard } from '../http/agent-card.ts'
import { problem } from '../http/call.ts'
import { type Classified, classify } from '../http/classify.ts'
import { forwardedHeaders, type Head } from '../http/head.ts'
import { type Incoming, type NodeRequest, readIncoming } from '../http/incoming.ts'
import type { Route } from '../http/routes.ts'
import type { Upstream, UpstreamResponse } from '../http/upstream.ts'
import { checkAnswer } from './answer-check.ts'
import { type Balancer, requestBalanced } from './balancer.ts'
import type { ConnectorAgent } from './connector-agent.ts'
import { type Listener, listen } from './inbound.ts'
import { MESH_WIRE } from './wire.ts'

export interface OutboundOptions {
  readonly agent: ConnectorAgent
  readonly rooms: Rooms
  readonly upstream: Upstream
  readonly balancer: Balancer
  /** How `name` is reached from here: its own connectors, or the gateway when it has none. */
  findRoute(name: string): OutboundRoute | null
  /** Loopback only: whoever can reach this address speaks as the agent. */
  readonly host: string
  readonly port: number
  readonly bodyBytesMax: number
  readonly clock: Clock
  readonly random: Random
}

export interface OutboundRoute extends Route {
  /** What stands before the path: empty at a connector, `/agents/<name>` at the gateway. */
  readonly prefix: string
  /** The base URLs that the agent's card may show on this route. */
  readonly cardUrls: readonly string[]
}

const loopbackNames: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]'])

/**
 * The caller's side of the mesh: a plain address on loopback, `/<agent>/<path>`, through which an
 * agent that knows nothing of us calls others by name, with its own identity and signature.
 */
export async function openOutbound(options: OutboundOptions): Promise<Listener> {
  if (!loopbackNames.has(options.host)) {
    throw new Error(`a connector listens on loopback only, not on ${options.host}`)
  }
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 60_000 })
  server.on('request', (request, response) => {
    const leaving = new AbortController()
    response.once('close', () => leaving.abort())
    const at = options.clock.now()
    const call = { at, exchange: createId('dec', at, options.random(10)), signal: leaving.signal }
    const present = (_: NodeRequest, head: Head) => presentOwn(options, head)
    readIncoming(request, options.bodyBytesMax, present)
      .then((incoming) => carry({ ...options, port }, call, incoming))
      .catch((cause: unknown) => new Refusal('UNDECIDED', String(cause)))
      .then((answer) => write(response, answer, call.exchange))
      .catch(() => response.destroy())
  })
  const port = await listen(server, options)
  return {
    port,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

interface OutboundCall {
  readonly at: number
  readonly exchange: Arrival['exchange']
  readonly signal: AbortSignal
}

interface Answer {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array | AsyncIterable<Uint8Array>
}

/** Web pages can reach loopback too: by a name that resolves to it, or by a cross-origin request. */
function presentOwn({ agent }: OutboundOptions, head: Head) {
  const name = head.authority.replace(/:\d+$/, '')
  if (!loopbackNames.has(name) || head.headers.has('origin')) {
    return new Refusal('CREDENTIAL_REJECTED', 'only local programs may speak as this agent')
  }
  const { certificateChain } = agent.credential()
  return { certificateChain, bearer: null, apiKey: null }
}

async function carry(
  options: OutboundOptions,
  call: OutboundCall,
  incoming: Incoming | Refusal,
): Promise<Answer | Refusal> {
  if (incoming instanceof Refusal) return incoming
  const [path = ''] = incoming.head.path.split('?', 1)
  const [, name = '', ...rest] = path.split('/')
  if (!isAgentName(name)) return new Refusal('RECEIVER_UNKNOWN', `${path} names no agent`)
  const route = options.findRoute(name)
  if (route === null) return new Refusal('RECEIVER_UNKNOWN', `${name} is not in the directory`)
  const inner = `/${rest.join('/')}`
  const classified = classifyCall(incoming, inner, route)
  if (classified instanceof Refusal) return classified

  const arrival = toArrival(call, incoming, { name, inner, classified })
  const admitted = await admitControl(options.rooms, arrival)
  if (admitted instanceof Refusal) return admitted

  const query = incoming.head.path.slice(path.length)
  const request = sign(options, call, incoming, { name, path: `${route.prefix}${inner}${query}` })
  const response = await requestBalanced(options.upstream, options.balancer, route, {
    ...request,
    body: incoming.body,
    signal: call.signal,
  })
  if (response instanceof Refusal) return response
  return readAnswer(options, response, request, { name, classified })
}

function classifyCall(incoming: Incoming, inner: string, route: Route): Classified | Refusal {
  const { head, body } = incoming
  let parsed: unknown
  if (body.length > 0 && /^application\/json\b/i.test(head.headers.get('content-type') ?? '')) {
    try {
      parsed = parseStrictJson(parseUtf8(body))
    } catch (cause) {
      return new Refusal('MESSAGE_MALFORMED', String(cause))
    }
  }
  return classify(head, inner, parsed, route.protocol)
}

function toArrival(
  call: OutboundCall,
  { head, presented, body }: Incoming,
  to: { readonly name: string; readonly inner: string; readonly classified: Classified },
): Arrival {
  const { protocol, operation, tool } = to.classified
  return {
    exchange: call.exchange,
    at: call.at,
    transport: 'mesh',
    presented,
    fault: null,
    signature: null,
    target: { kind: 'agent', name: to.name, action: 'call', protocol, operation, tool, labels: [] },
    message: {
      method: head.method,
      path: to.inner,
      headers: [],
      contentType: head.headers.get('content-type') ?? '',
      body,
    },
  }
}

/** What travels is rebuilt, and signed with the agent's own key. */
function sign(
  { agent, random }: OutboundOptions,
  call: OutboundCall,
  incoming: Incoming,
  to: { readonly name: string; readonly path: string },
): SignableRequest {
  const { trustDomain } = agent
  const receiver = formatSpiffeId({ trustDomain, kind: 'agent', name: to.name, instance: null })
  const headers: [string, string][] = [
    ...forwardedHeaders(incoming.head),
    ['countersign-to', receiver],
  ]
  if (incoming.body.length > 0) {
    headers.push(['content-digest', formatContentDigest(sha256(incoming.body))])
  }
  const request = { method: incoming.head.method, path: to.path, authority: '', headers }
  const { input, base } = prepareRequestSignature(request, {
    created: Math.floor(call.at / 1000),
    keyId: agent.signer.keyId,
    nonce: toBase64Url(random(16)),
  })
  const signature = agent.signer.sign(utf8(base))
  const signed = formatSignedRequestHeaders('caller', input, signature)
  return { ...request, headers: [...headers, ...signed] }
}

const answeredNames: ReadonlySet<string> = new Set([
  'content-type',
  'content-digest',
  'cache-control',
  'countersign-exchange',
  'countersign-receipt',
  'countersign-refusal',
  'etag',
  'mcp-protocol-version',
  'mcp-session-id',
  'ratelimit',
  'ratelimit-policy',
  'retry-after',
  'a2a-version',
])

async function readAnswer(
  options: OutboundOptions,
  response: UpstreamResponse,
  request: SignableRequest,
  to: { readonly name: string; readonly classified: Classified },
): Promise<Answer | Refusal> {
  const headers = response.headers
    .map(([name, value]): [string, string] => [name.toLowerCase(), value])
    .filter(([name]) => answeredNames.has(name))
  const contentType = headers.find(([name]) => name === 'content-type')?.[1] ?? ''
  if (contentType.startsWith('text/event-stream')) {
    return { status: response.status, headers, body: response.body }
  }
  const body = await readAll(response, options.bodyBytesMax)
  if (body instanceof Refusal) return body
  const fault = checkAnswer(options.rooms.signatures, to.name, {
    response,
    request,
    body,
  })
  if (fault !== null) return fault
  if (to.classified.operation !== 'GetAgentCard' || response.status !== 200) {
    return { status: response.status, headers, body }
  }
  return rewriteCard(options, { status: response.status, headers, body }, to.name)
}

/** The card leads to this very connector, where the agent needs no credential at all. */
function rewriteCard(
  options: OutboundOptions,
  answer: Answer & { readonly body: Uint8Array },
  name: string,
): Answer | Refusal {
  const card = mediateCard(answer.body, {
    baseUrl: `http://${options.host}:${options.port}/${name}`,
    upstreamUrls: options.findRoute(name)?.cardUrls ?? [],
    signer: options.agent.signer,
    credentialsRequired: false,
  })
  if (card instanceof Refusal) return card
  // What others said of their bytes does not hold for ours.
  const headers = answer.headers.filter(([field]) => !['content-digest', 'etag'].includes(field))
  return { status: answer.status, headers, body: card }
}

async function readAll(
  response: UpstreamResponse,
  bodyBytesMax: number,
): Promise<Uint8Array | Refusal> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body) {
    length += chunk.length
    if (length > bodyBytesMax) {
      response.discard()
      return new Refusal('RESPONSE_REJECTED', `it exceeds ${bodyBytesMax} bytes`)
    }
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}

async function write(
  response: ServerResponse,
  answer: Answer | Refusal,
  exchange: string,
): Promise<void> {
  if (answer instanceof Refusal) {
    const { status } = MESH_WIRE[answer.code]
    response.writeHead(status, {
      'content-type': 'application/problem+json',
      'countersign-refusal': answer.code,
      'countersign-exchange': exchange,
    })
    response.end(problem(answer, exchange, status))
    return
  }
  response.writeHead(answer.status, answer.headers.flat())
  if (answer.body instanceof Uint8Array) {
    response.end(answer.body)
    return
  }
  response.flushHeaders()
  for await (const chunk of answer.body) {
    if (!response.write(chunk)) {
      await new Promise<void>((resolve) => {
        response.once('drain', resolve)
        response.once('close', resolve)
      })
    }
    if (response.destroyed) break
  }
  response.end()
}
