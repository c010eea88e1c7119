import {
  createSignatureBase,
  createSignatureInput,
  formatContentDigest,
  readSignedHalf,
} from '@countersign/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { sha256 } from '../../lib/sha256.ts'
import { classifyRequest } from '../../protocols/classify.ts'
import { METHODS, readHead } from '../../protocols/reading/head.ts'
import type { RouteProtocol } from '../../protocols/reading/route-protocol.ts'

const pieces = [
  ...['tasks', 'Tasks', '%74asks', 'tasks.json', 'tasks;v=1', 'tasks.js', 't%C5%BFasks', '5'],
  ...['5:cancel', '5%3ACancel', '5:SUBSCRIBE', 'message:send', 'Message:Stream', 'message%3asend'],
  ...['message:send.json', '%EF%BD%8Dessage:send', 'v1', 'card', 'card.json', 'extendedAgentCard'],
  ...[
    '.well-known',
    'agent-card.json',
    'Agent.json',
    'agent.json',
    'a2a.A2AService',
    'SendMessage',
  ],
  ...['x%20y', 'x%3Fy', 'agents', 'echo', 'tasks%20', '%E2%80%8Btasks'],
]
const rpc = (method: string): string =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { id: 't-1', name: 'pay' } })
const bodies = [
  ...['', '{}', '[]', '[{"a":1}]', '"text"', '{"jsonrpc":"2.0","id":1,"result":{}}'],
  ...['SendMessage', 'message/stream', 'tasks/get', 'tasks/cancel', 'tools/call'].map(rpc),
  ...['notifications/initialized', 'FooBar', 'agent/getAuthenticatedExtendedCard'].map(rpc),
]

const requests = fc.record({
  method: fc.constantFrom(...METHODS),
  prefixed: fc.boolean(),
  path: fc
    .array(fc.oneof(fc.constantFrom(...pieces), fc.webSegment()), { maxLength: 4 })
    .chain((parts) => fc.constantFrom('', '/', '?a=1').map((end) => `/${parts.join('/')}${end}`)),
  body: fc.constantFrom(...bodies),
  type: fc.constantFrom('application/json', 'text/plain', null),
  protocol: fc.constantFrom<RouteProtocol>('auto', 'a2a', 'mcp', 'http'),
  session: fc.boolean(),
  cover: fc.constantFrom('@path', '@target-uri'),
  digest: fc.boolean(),
})

test('every verifier reads a signed request as it was classified', () => {
  const seen = new Set<string>()
  fc.assert(
    fc.property(requests, (asked) => {
      const { method, body, type, protocol, session } = asked
      const prefix = asked.prefixed ? '/agents/echo' : ''
      const bytes = Buffer.from(body)
      // Bodies of these are refused by their reader before a request is classified.
      fc.pre(body === '' || (method !== 'GET' && method !== 'HEAD'))
      const digest = formatContentDigest(sha256(bytes))
      const fields: [string, string][] = [
        ...(body === '' || type === null ? [] : [['content-type', type] as [string, string]]),
        ...(body === '' && !asked.digest ? [] : [['content-digest', digest] as [string, string]]),
        ...(session ? [['mcp-session-id', 'x'] as [string, string]] : []),
      ]
      const url = `${prefix}${asked.path}`
      const head = readHead({ method, url, rawHeaders: fields.flat(), authority: 'fabric.test' })
      if (head instanceof Refusal) return
      const [inRoute = ''] = asked.path.split('?', 1)
      const read = classifyRequest({ head, body: bytes }, inRoute, protocol)
      if (read instanceof Refusal) return
      const hasDigest = fields.some(([name]) => name === 'content-digest')
      const input = createSignatureInput({
        components: ['"@method"', `"${asked.cover}"`, ...(hasDigest ? ['"content-digest"'] : [])],
        ...{ created: 1, keyId: 'k' },
      })
      const base = createSignatureBase(input, { ...head, headers: fields })
      const facts = {
        ...{ transport: asked.prefixed ? 'gateway' : 'mesh', receiver: 'echo' },
        ...{ protocol: read.protocol, operation: read.operation },
        'request.signature': new Uint8Array(64),
        'request.key': new Uint8Array(32),
        'request.signature-base': base,
        'request.digest': sha256(bytes),
      }
      expect(() => readSignedHalf(facts, 'request', { trustDomain: 'acme.test' })).not.toThrow()
      seen.add(`${read.protocol} ${read.operation}`)
    }),
    { numRuns: 5000 },
  )
  // The law is about something: operations by path, by content and of no protocol.
  for (const one of ['a2a SendMessage', 'a2a CancelTask', 'a2a GetTask', 'mcp tools/call']) {
    expect([...seen], one).toContain(one)
  }
})
