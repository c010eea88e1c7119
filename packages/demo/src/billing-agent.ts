import { setTimeout as sleep } from 'node:timers/promises'
import { AgentCard, Message, Task, TaskStatusUpdateEvent } from '@a2a-js/sdk'
import {
  AgentEvent,
  type AgentExecutor,
  DefaultRequestHandler,
  type ExecutionEventBus,
  InMemoryTaskStore,
  type RequestContext,
} from '@a2a-js/sdk/server'
import { parseUtf8 } from '@countersign/protocol'
import { type Agent, openAgent } from '@countersign/sdk'
import { answerA2a } from './a2a-answer.ts'
import { serveCommands } from './commands.ts'

/** The interval and the number of the events of a stream: eight seconds in all. */
const updateMs = 100
const updatesMax = 80

export interface Enrolment {
  /** Null when `dir` holds an identity already. */
  readonly join: string | null
  readonly dir: string
}

export interface Collected {
  readonly text: string
  /** The name of the agent that sealed it, as verified by the SDK. */
  readonly sender: string
  readonly attempt: number
}

export type BillingCommands = {
  /** Enrols, and serves A2A; countersigns what it answers. */
  readonly serve: (enrolment: Enrolment) => Promise<{ readonly url: string }>
  /** Takes the next sealed message of a channel, opens it, and countersigns that it has it. */
  readonly collect: (channel: string) => Promise<Collected>
  /** The receipt of an exchange by its id, verified offline by the SDK. */
  readonly fetchReceipt: (exchange: string) => Promise<Uint8Array>
  /** Every text that reached this agent, as it arrived. */
  readonly listReceived: () => Promise<readonly string[]>
}

const received: string[] = []
let agent: Agent | null = null

async function serve({ join, dir }: Enrolment): Promise<{ readonly url: string }> {
  agent = await openAgent(join === null ? { dir } : { dir, join })
  // The card holds the address, which is known only after listening; requests wait for it.
  const { promise: card, resolve } = Promise.withResolvers<AgentCard>()
  const handler = card.then(
    (known) => new DefaultRequestHandler(known, new InMemoryTaskStore(), billing),
  )
  const answer = async (request: Request): Promise<Response> => answerA2a(await handler, request)
  const { url } = await agent.serve(({ request }) => answer(request), { protocol: 'a2a' })
  resolve(describe(agent.name, url))
  return { url }
}

const billing: AgentExecutor = {
  async execute(context, bus) {
    const text = textOf(context)
    received.push(text)
    if (text.startsWith('watch')) await reportProgress(context, bus)
    else bus.publish(AgentEvent.message(reply(context, `Noted: ${text}`)))
    bus.finished()
  },
  cancelTask: (_, bus) => Promise.resolve(bus.finished()),
}

/** A stream that is long enough for its caller to be quarantined meanwhile. */
async function reportProgress(context: RequestContext, bus: ExecutionEventBus): Promise<void> {
  const { taskId, contextId } = context
  const status = { state: 'TASK_STATE_WORKING' }
  bus.publish(AgentEvent.task(Task.fromJSON({ id: taskId, contextId, status })))
  for (let count = 1; count <= updatesMax; count += 1) {
    await sleep(updateMs)
    const message = Message.toJSON(
      reply(context, `payment run: ${count} of ${updatesMax} invoices`),
    )
    bus.publish(
      AgentEvent.statusUpdate(
        TaskStatusUpdateEvent.fromJSON({ taskId, contextId, status: { ...status, message } }),
      ),
    )
  }
  const done = { taskId, contextId, status: { state: 'TASK_STATE_COMPLETED' } }
  bus.publish(AgentEvent.statusUpdate(TaskStatusUpdateEvent.fromJSON(done)))
}

function reply({ contextId, userMessage }: RequestContext, text: string): Message {
  const messageId = `re-${userMessage.messageId}`
  return Message.fromJSON({ messageId, contextId, role: 'ROLE_AGENT', parts: [{ text }] })
}

function textOf({ userMessage }: RequestContext): string {
  return userMessage.parts
    .map(({ content }) => (content?.$case === 'text' ? content.value : ''))
    .join(' ')
}

/** The message is there already; waiting is for a fabric that is busy. */
const collectMsMax = 20_000

async function collect(channel: string): Promise<Collected> {
  const group = 'demo'
  const messages = await enrolled()
    .channel(channel)
    .receive({ group, countMax: 1, waitMs: collectMsMax })
  const [message] = messages
  if (message === undefined) throw new Error(`nothing arrived on ${channel}`)
  const { body, sender, attempt } = message
  await message.ack()
  return { text: parseUtf8(body), sender, attempt }
}

function enrolled(): Agent {
  if (agent === null) throw new Error('serve has to be called first')
  return agent
}

function describe(name: string, url: string): AgentCard {
  return AgentCard.fromJSON({
    name,
    description: 'Takes notes on invoices (a part of the Countersign demo).',
    version: '1.0.0',
    supportedInterfaces: [{ url: `${url}/`, protocolBinding: 'JSONRPC', protocolVersion: '1.0' }],
    capabilities: { streaming: true },
    defaultInputModes: ['text/plain'],
    defaultOutputModes: ['text/plain'],
    skills: [
      {
        id: 'note',
        name: 'Take a note',
        description: 'Notes a text on an invoice.',
        tags: ['billing'],
      },
    ],
  })
}

serveCommands({
  serve,
  collect,
  fetchReceipt: async (exchange) => (await enrolled().receipt(exchange)).bytes,
  listReceived: () => Promise.resolve(received),
} satisfies BillingCommands)
process.once('SIGTERM', () => {
  const closed = agent?.close() ?? Promise.resolve()
  closed.finally(() => process.exit(0)).catch(() => process.exit(1))
})
