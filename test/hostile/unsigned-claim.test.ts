import {
  compareMessage,
  describeMatch,
  describeSource,
  type MeshFact,
  sourceOf,
  utf8,
} from '@countersign/protocol'
import { verify } from '@countersign/sdk'
import { expect } from 'vitest'
import { reportVerified } from '../../packages/console/src/verify/report.ts'
import { createTerminal } from '../../packages/fabric/src/cli/output/terminal.ts'
import { formatVerification } from '../../packages/fabric/src/cli/verification.ts'
import { attack } from '../harness/attack.ts'
import { type AttestedDraft, attestedBy } from '../harness/attested.ts'
import { agentId, send } from '../harness/doors.ts'
import { meshEntry, newExchange, record } from '../harness/entries.ts'
import { sha256 } from '../harness/signed.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Facts = Readonly<Record<string, MeshFact>>

/** The statements of a connector about a request that its caller signed differently. */
const contradictions: Readonly<Record<string, readonly [AttestedDraft, Facts]>> = {
  'another method of plain HTTP': [{ method: 'GET', body: '' }, { operation: 'DELETE' }],
  'the method in lower case': [{ method: 'GET', body: '' }, { operation: 'get' }],
  'a call of MCP, of a request without content': [
    { method: 'GET', body: '' },
    { protocol: 'mcp', operation: 'tools/call', tool: 'wire-transfer' },
  ],
  'a call of MCP, of a POST without content': [
    { body: '' },
    { protocol: 'mcp', operation: 'tools/call', tool: 'wire-transfer' },
  ],
  'the end of a session, of a call': [{}, { protocol: 'mcp', operation: 'session/end' }],
  'a request that was signed for another': [{ to: 'echo' }, {}],
  'a call of A2A, of a request without content': [
    { method: 'GET', body: '' },
    { protocol: 'a2a', operation: 'SendMessage' },
  ],
  'a call of A2A, of a card that was fetched': [
    { method: 'GET', path: '/.well-known/agent-card.json', body: '' },
    { protocol: 'a2a', operation: 'CancelTask' },
  ],
  'a call of A2A with content, of the path of a card': [
    { method: 'GET', path: '/x/.well-known/agent.json?a=1', body: '{}' },
    { protocol: 'a2a', operation: 'SendMessage' },
  ],
  'a card that was fetched, of a call': [{}, { protocol: 'a2a', operation: 'GetAgentCard' }],
  'another operation of A2A than that of the path': [
    { path: '/v1/message:send' },
    { protocol: 'a2a', operation: 'CancelTask' },
  ],
  'a message, of the path of a task': [
    { path: '/v1/tasks/1:cancel', body: '' },
    { protocol: 'a2a', operation: 'SendMessage' },
  ],
  'a task that was read, of the list of tasks': [
    { method: 'GET', path: '/v1/tasks', body: '' },
    { protocol: 'a2a', operation: 'GetTask' },
  ],
  'a call of A2A, of a path with an escape': [
    { method: 'GET', path: '/a%20b', body: '' },
    { protocol: 'a2a', operation: 'CancelTask' },
  ],
  'a task that was cancelled, of one that was read by an escaped path': [
    { method: 'GET', path: '/tasks/%35', body: '' },
    { protocol: 'a2a', operation: 'CancelTask' },
  ],
  'the list of tasks, of one that was cancelled by an escaped path': [
    { path: '/tasks/5%3Acancel', body: '' },
    { protocol: 'a2a', operation: 'ListTasks' },
  ],
  'another operation of A2A than that of a path in another case': [
    { path: '/Message:Send' },
    { protocol: 'a2a', operation: 'CancelTask' },
  ],
  'another operation of A2A than that of a path with a slash behind it': [
    { path: '/message:send/' },
    { protocol: 'a2a', operation: 'CancelTask' },
  ],
  'a call of MCP, of a message of A2A': [
    { path: '/message:send' },
    { protocol: 'mcp', operation: 'tools/call', tool: 'delete' },
  ],
  'a stream of MCP, of a task of A2A': [
    { method: 'GET', path: '/x/Tasks/5:subscribe', body: '' },
    { protocol: 'mcp', operation: 'stream' },
  ],
  'a stream of MCP, of a card': [
    { method: 'GET', path: '/.well-known/agent-card.json', body: '' },
    { protocol: 'mcp', operation: 'stream' },
  ],
  'plain HTTP, of a card': [
    { method: 'GET', path: '/.well-known/agent-card.json', body: '' },
    { protocol: 'http', operation: 'GET' },
  ],
  'a card, of another spelling of its path': [
    { method: 'GET', path: '/.well-known/Agent-Card.json', body: '' },
    { protocol: 'a2a', operation: 'GetAgentCard' },
  ],
  'an extended card, of a path that names one': [
    { method: 'GET', path: '/v1/card', body: '' },
    { protocol: 'a2a', operation: 'GetExtendedAgentCard' },
  ],
  'an operation that A2A does not have': [{}, { protocol: 'a2a', operation: 'FooBar' }],
  'a method that MCP does not have': [{}, { protocol: 'mcp', operation: 'FooBar' }],
  'an operation of A2A in content, of a digest of nothing': [
    {
      body: '',
      headers: [['content-digest', 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:']],
    },
    { protocol: 'a2a', operation: 'SendMessage' },
  ],
  'the list of tasks, of another path': [
    { method: 'GET', path: '/v1/other', body: '' },
    { protocol: 'a2a', operation: 'ListTasks' },
  ],
}

/** The facts that an honest connector records of A2A, by path or by content. */
const honest: readonly (readonly [AttestedDraft, operation: string])[] = [
  [{ path: '/rpc' }, 'SendMessage'],
  [{ path: '/v1/message:send?a=1' }, 'SendMessage'],
  [{ path: '/v1/message:stream' }, 'SendStreamingMessage'],
  [{ path: '/v1/tasks/1:cancel', body: '' }, 'CancelTask'],
  [{ path: '/v1/tasks/1:subscribe', method: 'GET', body: '' }, 'SubscribeToTask'],
  [{ path: '/v1/tasks/1?historyLength=1', method: 'GET', body: '' }, 'GetTask'],
  [{ path: '/v1/tasks', method: 'GET', body: '' }, 'ListTasks'],
  [{ path: '/Tasks/1/', method: 'GET', body: '' }, 'GetTask'],
  [{ path: '/tasks/%35', method: 'HEAD', body: '' }, 'GetTask'],
  [{ path: '/Message:send', body: '' }, 'SendMessage'],
  [{ path: '/tasks/5%3Acancel', body: '' }, 'CancelTask'],
  [{ path: '/.well-known/agent-card.json', method: 'GET', body: '' }, 'GetAgentCard'],
]

async function refused(world: World, draft: AttestedDraft, facts: Facts): Promise<void> {
  const signed = attestedBy(world.caller, draft)
  const bad = meshEntry({ facts: { ...signed, 'request.forwarded-digest': null, ...facts } })
  expect((await record(world, [bad])).status).toBe(403)
  await expect(world.explain(bad.exchange)).rejects.toThrow()
}

async function receiptOf(world: World, facts: Facts) {
  const exchange = newExchange()
  const opening = meshEntry({ exchange, facts: { ...attestedBy(world.caller), ...facts } })
  expect((await record(world, [opening])).status).toBe(200)
  const outcome = { 'response.bytes': 7 }
  await record(world, [meshEntry({ exchange, kind: 'outcome', facts: outcome })])
  const heard = await send(world.control, {
    ...{ method: 'GET', path: `/v1/receipts/${exchange}`, body: null },
    as: world.caller.credential(),
  })
  return verify(heard.body, world.caller.trust)
}

const screen = { write: () => undefined }
const clock = { now: () => 0, monotonic: () => 0 }
const terminal = createTerminal({ stdout: screen, stderr: screen, colours: false, clock })

const byThief = `according to the connector of ${agentId('thief')}`
const forged = '{"transfer":1000000}'
const call = {
  ...{ protocol: 'mcp', operation: 'tools/call', tool: 'wire-transfer' },
  ...{ 'request.bytes': 1_000, masked: 'card:1' },
  'request.forwarded-digest': sha256(Buffer.from(forged)),
}

attack(
  verifies(
    ['receipt:whose-word'],
    'content that a caller did not sign is not shown as signed by it',
  ),
  {
    gateway: 'the fabric makes its own entries',
    mesh: {
      ...Object.fromEntries(
        Object.entries(contradictions).map(([name, [draft, facts]]) => [
          `recorded as ${name}`,
          (world: World) => refused(world, draft, facts),
        ]),
      ),
      'the operation that A2A carries in its path or content is recorded': async (world) => {
        for (const [draft, operation] of honest) {
          const facts = { ...attestedBy(world.caller, draft), protocol: 'a2a', operation }
          const heard = await record(world, [meshEntry({ facts })])
          expect(heard.status, JSON.stringify([draft, operation])).toBe(200)
        }
      },
      'every fact has its source': async (world) => {
        const receipt = await receiptOf(world, call)
        const says = (name: string, entry = 0) => describeSource(sourceOf(receipt, entry, name))
        for (const name of ['caller', 'receiver', 'request.digest', 'request.signature']) {
          expect(says(name), name).toBe('signed by the caller')
        }
        for (const name of Object.keys(call)) expect(says(name), name).toBe(byThief)
        for (const name of ['result', 'status', 'response.digest', 'response.bytes']) {
          expect(says(name, 1), name).toBe(byThief)
        }
      },
      'the method of plain HTTP is the caller’s word, as it is signed': async (world) => {
        const receipt = await receiptOf(world, {})
        expect(describeSource(sourceOf(receipt, 0, 'operation'))).toBe('signed by the caller')
        expect(describeSource(sourceOf(receipt, 0, 'tool'))).toBe(byThief)
      },
      'a message that only the connector reports as received': async (world) => {
        const receipt = await receiptOf(world, call)
        const match = await compareMessage(receipt, 'request', utf8(forged))
        expect(match).toBe('forwarded')
        const words = describeMatch(match, 'request', receipt.request)
        expect(words).toContain(`according to the connector of ${agentId('thief')}`)
        expect(words).toContain('the caller signed something else')
      },
      'in the report of the command line, and in that of the page': async (world) => {
        const receipt = await receiptOf(world, call)
        const verification = { verified: receipt, failure: null, steps: [] }
        const text = formatVerification(
          verification,
          { trustFingerprint: '', matches: [], published: null },
          terminal,
        )
        expect(text.replaceAll(/\s+/g, ' ')).toContain(`operation tools/call, ${byThief}`)
        expect(text.replaceAll(/\s+/g, ' ')).toContain(`tool wire-transfer, ${byThief}`)
        const lines = reportVerified(receipt).sections.flatMap((section) => section.lines)
        expect(lines).toContainEqual({ label: 'Tool', value: `wire-transfer, ${byThief}` })
      },
    },
    queue: 'the fabric makes its own entries',
  },
)
