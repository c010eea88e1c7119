import { createPublicKey } from 'node:crypto'
import {
  AGENT_CARD_PATH,
  type AgentCard,
  SendMessageRequest,
  verifyAgentCardSignature,
} from '@a2a-js/sdk'
import {
  type Client as A2aClient,
  ClientFactory,
  JsonRpcTransportFactory,
} from '@a2a-js/sdk/client'
import { toBase64Url } from '@countersign/protocol'
import { type Agent, openAgent } from '@countersign/sdk'
import { Client as McpClient, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type { Enrolment } from './billing-agent.ts'
import { serveCommands } from './commands.ts'

/** The caller's result of one exchange. */
export interface Exchanged {
  readonly text: string
  readonly exchange: string
  /**
   * The receipt that this agent's SDK fetched, verified offline, and compared with what it sent.
   */
  readonly receipt: Uint8Array
}

export interface ToolAnswer {
  readonly text: string
  readonly exchange: string
  /** Null for an answer; otherwise the refusal's code. */
  readonly refusal: string | null
  /** Names of the credentials that the request carried. */
  readonly credentials: readonly string[]
}

export interface StreamEnd {
  readonly events: number
  /** The code in the error that the official client threw; null for a stream that just ended. */
  readonly refusal: string | null
}

export type SupportCommands = {
  readonly enrol: (enrolment: Enrolment) => Promise<{ readonly trustDomain: string }>
  /** Asks for the agent card through the gateway and checks the fabric's signature on it. */
  readonly meet: (receiver: string) => Promise<{ readonly url: string }>
  readonly ask: (text: string) => Promise<Exchanged>
  /** Calls an MCP tool by the plain address of a connector. */
  readonly callTool: (call: ToolCall) => Promise<ToolAnswer>
  /** The receipt of an exchange by its id, verified offline by the SDK. */
  readonly fetchReceipt: (exchange: string) => Promise<Uint8Array>
  /** Seals a text for the members of a channel and publishes it. */
  readonly handOver: (sealed: HandOver) => Promise<HandedOver>
  /** Resolves when the first events of a stream have arrived; it goes on. */
  readonly openStream: (text: string) => Promise<{ readonly events: number }>
  readonly awaitStreamEnd: () => Promise<StreamEnd>
  /** The receipt of the stream, once it has ended and this agent may ask again. */
  readonly fetchStreamReceipt: () => Promise<Exchanged>
}

export interface HandOver {
  readonly channel: string
  readonly text: string
}

export interface HandedOver {
  readonly messageId: string
  readonly offset: number
  readonly exchange: string
}

export interface ToolCall {
  readonly url: string
  readonly tool: string
  readonly customer: string
}

/** Events that have to be there before a stream counts as running. */
const streamEventsMin = 3

let agent: Agent | null = null
let billing: A2aClient | null = null
let last: Response | null = null
let stream: { readonly end: Promise<StreamEnd>; readonly response: Response } | null = null
let sent = 0

function present<T>(value: T | null, what: string): T {
  if (value === null) throw new Error(`${what} has to be called first`)
  return value
}

async function enrol({ join, dir }: Enrolment): Promise<{ readonly trustDomain: string }> {
  agent = await openAgent(join === null ? { dir } : { dir, join })
  return { trustDomain: agent.trust.trustDomain }
}

/** The SDK's drop-in `fetch`, which is all that the official client needs to be given. */
const signedFetch: typeof globalThis.fetch = async (input, init) => {
  const response = await present(agent, 'enrol').fetch(input, init)
  last = response
  return response
}

async function meet(receiver: string): Promise<{ readonly url: string }> {
  const { trust } = present(agent, 'enrol')
  const cardUrl = `https://${receiver}.countersign.internal/${AGENT_CARD_PATH}`
  // Checked as it came: the SDK's parsed form leaves out parts that the signature covers.
  const card = (await (await signedFetch(cardUrl)).json()) as AgentCard
  await verifyAgentCardSignature((kid) => {
    if (kid !== trust.fabricKeyId) throw new Error(`${kid} is not the fabric’s key`)
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(trust.fabricKey) }
    return Promise.resolve(createPublicKey({ key: jwk, format: 'jwk' }))
  })(card)
  const factory = new ClientFactory({
    transports: [new JsonRpcTransportFactory({ fetchImpl: signedFetch })],
  })
  billing = await factory.createFromAgentCard(card)
  return { url: card.supportedInterfaces[0]?.url ?? '' }
}

function compose(text: string): SendMessageRequest {
  sent += 1
  const message = { messageId: `demo-${process.pid}-${sent}`, role: 'ROLE_USER', parts: [{ text }] }
  return SendMessageRequest.fromJSON({ message })
}

async function ask(text: string): Promise<Exchanged> {
  const answer = await present(billing, 'meet').sendMessage(compose(text))
  const parts = 'parts' in answer ? answer.parts : []
  const said = parts.map(({ content }) => (content?.$case === 'text' ? content.value : ''))
  return { text: said.join(' '), ...(await prove(present(last, 'ask'))) }
}

async function prove(response: Response): Promise<Pick<Exchanged, 'exchange' | 'receipt'>> {
  const { exchange, bytes } = await present(agent, 'enrol').receiptOf(response)
  return { exchange, receipt: bytes }
}

const credentialNames = ['authorization', 'x-api-key', 'signature', 'cookie']

async function callTool({ url, tool, customer }: ToolCall): Promise<ToolAnswer> {
  let exchange = ''
  let refusal: string | null = null
  let credentials: readonly string[] = []
  const watching: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init)
    credentials = credentialNames.filter((name) => request.headers.has(name))
    const response = await fetch(request)
    exchange = response.headers.get('countersign-exchange') ?? exchange
    refusal = response.headers.get('countersign-refusal')
    return response
  }
  const client = new McpClient(
    { name: 'support', version: '1.0.0' },
    { versionNegotiation: { mode: 'auto' } },
  )
  try {
    await client.connect(new StreamableHTTPClientTransport(new URL(url), { fetch: watching }))
    const { content } = await client.callTool({ name: tool, arguments: { customer } })
    const texts = content.map((part) => (part.type === 'text' ? part.text : ''))
    return { text: texts.join(' '), exchange, refusal, credentials }
  } catch (error) {
    if (refusal === null) throw error
    return { text: '', exchange, refusal, credentials }
  } finally {
    await client.close()
  }
}

async function handOver({ channel, text }: HandOver): Promise<HandedOver> {
  const sealed = await present(agent, 'enrol')
    .channel(channel)
    .send(text, { labels: ['payroll'] })
  const { messageId, offset, exchange } = sealed
  return { messageId, offset, exchange: exchange ?? '' }
}

async function openStream(text: string): Promise<{ readonly events: number }> {
  const events = present(billing, 'meet').sendMessageStream(compose(text))
  let count = 0
  while (count < streamEventsMin) {
    const next = await events.next()
    if (next.done === true) throw new Error('the stream ended before anything could happen')
    count += 1
  }
  stream = { end: readToEnd(events, count), response: present(last, 'ask') }
  return { events: count }
}

async function readToEnd(events: AsyncGenerator<unknown>, before: number): Promise<StreamEnd> {
  let count = before
  try {
    for await (const _ of events) count += 1
    return { events: count, refusal: null }
  } catch (error) {
    // The last event is a JSON-RPC error with our data in it, which the client passes on as text.
    const [, code] = /"code":"([A-Z_]+)"/.exec(String(error)) ?? []
    return { events: count, refusal: code ?? String(error) }
  }
}

serveCommands({
  enrol,
  meet,
  ask,
  callTool,
  handOver,
  fetchReceipt: async (exchange) => (await present(agent, 'enrol').receipt(exchange)).bytes,
  openStream,
  awaitStreamEnd: () => present(stream, 'openStream').end,
  async fetchStreamReceipt() {
    const { end, response } = present(stream, 'openStream')
    return { text: (await end).refusal ?? '', ...(await prove(response)) }
  },
} satisfies SupportCommands)
