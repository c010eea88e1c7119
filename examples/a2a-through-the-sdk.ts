/**
 * The official A2A SDK on both sides, unmodified: the client gets our `fetch`, the server is an
 * express application that we serve. Needs a running fabric and two join strings:
 *
 *     node examples/a2a-through-the-sdk.ts <join of the caller> <join of the callee>
 */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AgentCard, Message, SendMessageRequest, Task, TaskStatusUpdateEvent } from '@a2a-js/sdk'
import {
  ClientFactory,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
} from '@a2a-js/sdk/client'
import {
  AgentEvent,
  type AgentExecutor,
  DefaultRequestHandler,
  InMemoryTaskStore,
} from '@a2a-js/sdk/server'
import { agentCardHandler, jsonRpcHandler, UserBuilder } from '@a2a-js/sdk/server/express'
import { type Agent, openAgent, type Receipt } from '@countersign/sdk'
import express from 'express'

const [callerJoin = '', calleeJoin = ''] = process.argv.slice(2)
const home = await mkdtemp(join(tmpdir(), 'countersign-example-'))
const caller = await openAgent({ join: callerJoin, dir: join(home, 'caller') })
const callee = await openAgent({ join: calleeJoin, dir: join(home, 'callee') })

/** An A2A agent as its author would write it anyway. */
const executor: AgentExecutor = {
  async execute({ taskId, contextId, userMessage }, bus) {
    const [part] = userMessage.parts
    const asked = part?.content?.$case === 'text' ? part.content.value : ''
    if (asked === 'count') {
      const task = { id: taskId, contextId, status: { state: 'TASK_STATE_WORKING' } }
      bus.publish(AgentEvent.task(Task.fromJSON(task)))
      const done = { taskId, contextId, status: { state: 'TASK_STATE_COMPLETED' } }
      bus.publish(AgentEvent.statusUpdate(TaskStatusUpdateEvent.fromJSON(done)))
    } else {
      bus.publish(AgentEvent.message(textMessage('ROLE_AGENT', `you said: ${asked}`, contextId)))
    }
    bus.finished()
  },
  async cancelTask(_, bus) {
    bus.finished()
  },
}

function textMessage(role: string, text: string, contextId = ''): Message {
  return Message.fromJSON({ messageId: randomUUID(), contextId, role, parts: [{ text }] })
}

function card(agent: Agent, url: string): AgentCard {
  return AgentCard.fromJSON({
    name: agent.name,
    description: 'Repeats what it hears',
    version: '1.0.0',
    supportedInterfaces: [{ url, protocolBinding: 'JSONRPC', protocolVersion: '1.0' }],
    capabilities: { streaming: true },
    defaultInputModes: ['text/plain'],
    defaultOutputModes: ['text/plain'],
    skills: [{ id: 'echo', name: 'Echo', description: 'Repeats', tags: ['echo'] }],
  })
}

// docs:a2a-server
const app = express()
const served = await callee.serveNode(app, { protocol: 'a2a' })
const requestHandler = new DefaultRequestHandler(
  card(callee, `${served.url}/rpc`),
  new InMemoryTaskStore(),
  executor,
)
app.use('/.well-known/agent-card.json', agentCardHandler({ agentCardProvider: requestHandler }))
app.use('/rpc', jsonRpcHandler({ requestHandler, userBuilder: UserBuilder.noAuthentication }))
// docs:end

/** Every response that the client's `fetch` gave, for its receipt. */
const responses: Response[] = []

// docs:a2a-client
const fetchImpl: typeof fetch = async (input, init) => {
  const response = await caller.fetch(input, init)
  responses.push(response)
  return response
}
const client = await new ClientFactory({
  transports: [new JsonRpcTransportFactory({ fetchImpl })],
  cardResolver: new DefaultAgentCardResolver({ fetchImpl }),
}).createFromUrl(`https://${callee.name}.countersign.internal`)
// docs:end

async function lastReceipt(): Promise<Receipt> {
  const response = responses.at(-1)
  assert(response !== undefined)
  return caller.receiptOf(response)
}

const ask = (text: string): SendMessageRequest =>
  SendMessageRequest.fromJSON({ message: Message.toJSON(textMessage('ROLE_USER', text)) })

const answer = await client.sendMessage(ask('hello'))
assert('parts' in answer, 'a message came back')
assert.deepEqual(answer.parts[0]?.content, { $case: 'text', value: 'you said: hello' })
const receipt = await lastReceipt()
assert.equal(receipt.operation, 'SendMessage')
assert.equal(receipt.request.by, 'caller')
assert.equal(receipt.response.by, 'callee')

const states: string[] = []
for await (const { payload } of client.sendMessageStream(ask('count'))) {
  states.push(payload?.$case ?? 'nothing')
}
assert.deepEqual(states, ['task', 'statusUpdate'])
const streamed = await lastReceipt()
assert.equal(streamed.operation, 'SendStreamingMessage')
assert.equal(streamed.response.by, 'callee')

console.log(`message: ${receipt.exchange}, countersigned`)
console.log(`stream of ${states.length} events: ${streamed.exchange}, countersigned`)

await Promise.all([caller.close(), callee.close()])
await rm(home, { recursive: true })
