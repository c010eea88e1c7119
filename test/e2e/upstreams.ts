import { randomUUID } from 'node:crypto'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AgentCard, Message, Task, TaskStatusUpdateEvent } from '@a2a-js/sdk'
import {
  AgentEvent,
  type AgentExecutor,
  DefaultRequestHandler,
  InMemoryTaskStore,
  type RequestContext,
} from '@a2a-js/sdk/server'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { createMcpHandler, fromJsonSchema, McpServer } from '@modelcontextprotocol/server'
import { answerA2a } from '../../packages/demo/src/a2a-answer.ts'
import { webListener } from '../../packages/demo/src/web-listener.ts'

/** An agent as its author wrote it, with an official server and nothing of ours. */
export interface Upstream {
  readonly url: string
  close(): Promise<void>
}

/** The signal that the receiver of a stream waits for before it sends the next event. */
export interface Pace {
  /** Called by the caller, for each event that it has seen. */
  seen(): void
  wait(): Promise<void>
}

export function createPace(): Pace {
  let permits = 0
  const waiting: (() => void)[] = []
  return {
    seen() {
      const next = waiting.shift()
      if (next === undefined) permits += 1
      else next()
    },
    wait() {
      if (permits === 0) return new Promise((resolve) => waiting.push(resolve))
      permits -= 1
      return Promise.resolve()
    },
  }
}

async function serve(listener: RequestListener): Promise<Upstream> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/** Number of updates that the A2A agent streams, one for each that was seen. */
export const UPDATES = 3

export async function openA2aAgent(pace: Pace): Promise<Upstream> {
  const { promise: ready, resolve } = Promise.withResolvers<Answer>()
  const upstream = await serve(webListener(async (request) => (await ready)(request)))
  resolve(createA2aAnswer(upstream.url, pace))
  return upstream
}

type Answer = (request: Request) => Promise<Response>

/** An A2A server on the official SDK, reached under `url`. */
export function createA2aAnswer(url: string, pace: Pace): Answer {
  const card = AgentCard.fromJSON({
    name: 'clerk',
    description: 'Repeats what it hears.',
    version: '1.0.0',
    supportedInterfaces: [
      { url: `${url}/`, protocolBinding: 'JSONRPC', protocolVersion: '1.0' },
      { url: 'https://elsewhere.example/rpc', protocolBinding: 'JSONRPC', protocolVersion: '1.0' },
      { url: `${url}/rest`, protocolBinding: 'HTTP+JSON', protocolVersion: '1.0' },
    ],
    provider: { organization: 'Example', url: 'https://example.com' },
    capabilities: {
      streaming: true,
      pushNotifications: true,
      extensions: [{ uri: 'https://example.com/ext', description: '', required: false }],
    },
    defaultInputModes: ['text/plain'],
    defaultOutputModes: ['text/plain'],
    skills: [{ id: 'echo', name: 'Echo', description: 'Repeats.', tags: ['text'], examples: [''] }],
  })
  const handler = new DefaultRequestHandler(card, new InMemoryTaskStore(), clerk(pace))
  return (request) => answerA2a(handler, request)
}

function clerk(pace: Pace): AgentExecutor {
  return {
    async execute(context, bus) {
      const { taskId, contextId } = context
      const text = textOf(context)
      if (text !== 'stream') {
        const parts = [{ text: `heard: ${text}` }]
        const reply = { messageId: randomUUID(), contextId, role: 'ROLE_AGENT', parts }
        bus.publish(AgentEvent.message(Message.fromJSON(reply)))
        bus.finished()
        return
      }
      const working = { state: 'TASK_STATE_WORKING' }
      bus.publish(AgentEvent.task(Task.fromJSON({ id: taskId, contextId, status: working })))
      for (let count = 1; count <= UPDATES; count += 1) {
        await pace.wait()
        const state = count === UPDATES ? 'TASK_STATE_COMPLETED' : 'TASK_STATE_WORKING'
        const update = { taskId, contextId, status: { state } }
        bus.publish(AgentEvent.statusUpdate(TaskStatusUpdateEvent.fromJSON(update)))
      }
      bus.finished()
    },
    cancelTask: (_, bus) => Promise.resolve(bus.finished()),
  }
}

function textOf({ userMessage }: RequestContext): string {
  return userMessage.parts
    .map(({ content }) => (content?.$case === 'text' ? content.value : ''))
    .join(' ')
}

/** An MCP server of the present SDK, which supports both eras, without sessions. */
export function openMcpAgent(pace: Pace): Promise<Upstream> {
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name: 'archive', version: '1.0.0' })
    const inputSchema = fromJsonSchema<{ word: string }>({
      type: 'object',
      properties: { word: { type: 'string' } },
      required: ['word'],
    })
    server.registerTool('say', { inputSchema }, ({ word }) => ({
      content: [{ type: 'text', text: `heard: ${word}` }],
    }))
    server.registerTool('count', { inputSchema }, async ({ word }, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken ?? 'none'
      for (let progress = 1; progress <= UPDATES; progress += 1) {
        await mcpReq.notify({
          method: 'notifications/progress',
          params: { progressToken, progress, total: UPDATES },
        })
        await pace.wait()
      }
      return { content: [{ type: 'text', text: `counted: ${word}` }] }
    })
    return server
  })
  return serve(toNodeHandler(handler) as RequestListener)
}

/** An MCP server of the SDK's first generation, which keeps a session for each client. */
export function openSessionAgent(): Promise<Upstream> {
  const sessions = new Map<string, StreamableHTTPServerTransport>()
  const open = async (): Promise<StreamableHTTPServerTransport> => {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void sessions.set(id, transport),
      onsessionclosed: (id) => void sessions.delete(id),
    })
    const server = new McpServerV1({ name: 'ledger', version: '1.0.0' })
    let calls = 0
    server.registerTool('next', {}, () => {
      calls += 1
      return { content: [{ type: 'text', text: String(calls) }] }
    })
    await server.connect(transport)
    return transport
  }
  return serve((request, response) => {
    const id = request.headers['mcp-session-id']
    const known = typeof id === 'string' ? sessions.get(id) : undefined
    if (id !== undefined && known === undefined) response.writeHead(404).end()
    else {
      Promise.resolve(known ?? open())
        .then((transport) => transport.handleRequest(request, response))
        .catch(() => response.destroy())
    }
  })
}
